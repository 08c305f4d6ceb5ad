// skep.toml: providers and settings of the local host. docs/configuration.md describes every key.
//
//   [local]
//   bind = ["/opt/tools"]                       # read-only inside, same path
//   upstream = { "api.anthropic.com" = "http://127.0.0.1:9000" }   # another target for a model
//
//   prices = { "claude-x" = "3,15,3.75,0.3" }   # dollars a million tokens: in, out, cache in, out
//
//   [providers.cloud]
//   api_url = "https://api.e2b.app"             # or domain = "e2b.app"
//   sandbox_url = ""                            # empty: derived from the domain
//   key = "E2B_API_KEY"                         # name of a secret (`skep secret set`)
//   create_timeout_s = 60                       # how long a create may take
//   first_lease_s = 120                         # how long a sandbox lives that nobody gets to know
//   lease_cap_s = 3600                          # the longest life that the plan gives a sandbox
//
//   [policy] and [daemon]: tools/skepd/policy_config.hpp
#pragma once

#include "tools/skepd/policy_config.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace skep::tools {

struct provider_entry {
  std::string api_url;
  std::string sandbox_url;
  std::string domain;
  std::string key_secret; ///< Name of the secret that holds the API key.
  actors::create_policy create;
};

struct config {
  std::vector<std::string> local_bind;               ///< Absolute paths.
  std::map<std::string, std::string> local_upstream; ///< Domain -> http(s) URL.
  std::map<std::string, std::string> local_prices;   ///< Model -> price (host/gateway/prices.hpp).
  std::map<std::string, provider_entry> providers;   ///< Without "local", which always exists.
  policy_config policy;
};

/// Reads and validates a file; a missing one is the default configuration unless `must_exist`.
/// bad_config names file, line and key.
result<config> load_config(const std::filesystem::path& file, bool must_exist);

/// $SKEP_CONFIG, else STATE/skep.toml.
std::filesystem::path default_config_file(const std::filesystem::path& state_root);

} // namespace skep::tools
