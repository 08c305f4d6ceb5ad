// From a parsed skep.toml to policy_config.
#pragma once

#include "tools/skepd/policy_config.hpp"

#include <filesystem>
#include <toml++/toml.h>

namespace skep::tools {

/// Reads the table [policy], and on_stop of [daemon]. bad_config with file, line and key.
error read_policy(const std::filesystem::path& file, const toml::table& whole, policy_config& out);

} // namespace skep::tools
