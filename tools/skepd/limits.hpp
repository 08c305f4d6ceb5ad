// From skep.toml to what ADMISSION answers by: limits, policies, prices. `skepd` and `skep run
// --dry-run` have them from here, so that both say the same.
#pragma once

#include "actors/limit_rules.hpp"
#include "tools/skepd/config.hpp"

#include <functional>

namespace skep::tools {

/// The one table of limits: every provider of the configuration, and `local`.
actors::limit_table limits_of(const config& settings);

/// [policy] with what other tables of skep.toml add to it: each provider's creates, the time kept
/// for the end of a budget, and the longest life that skep-host gives.
actors::policies policies_of(const config& settings);

/// Whether the price of a model is known to the local host's gateway, by the list of this release
/// and `local.prices`.
std::function<bool(const std::string& model)> priced_models(const config& settings);

/// Local sandboxes that this machine's memory and cores can carry, when skep.toml does not say: 50
/// a core, 256 MiB each, at least 10.
std::uint32_t local_capacity(unsigned cores, std::uint64_t memory_bytes);

} // namespace skep::tools
