// From skep.toml to the limits that ADMISSION enforces.
#pragma once

#include "actors/limit_rules.hpp"
#include "tools/skepd/config.hpp"

namespace skep::tools {

/// The one table of limits: every provider of the configuration, and `local`.
actors::limit_table limits_of(const config& settings);

/// Local sandboxes that this machine's memory and cores can carry, when skep.toml does not say: 50
/// a core, 256 MiB each, at least 10.
std::uint32_t local_capacity(unsigned cores, std::uint64_t memory_bytes);

} // namespace skep::tools
