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
//   fallback = "local"                          # where what it refuses is made
//   network_check = "require"                   # or "warn": keep sandboxes that fail the look
//   kind = "e2b"          # or "sim": costs nothing and has no limits unless set
//   usd_per_hour = 0.10   # what the time of a sandbox costs
//   max_active = 10       # or "unlimited", as the next four
//   max_active_per_repo = 5
//   creates_per_minute = 10
//   creates_per_hour = 20
//   creates_per_day = 50
//   max_starting = 64
//
//   [budget]
//   day_usd = 20          # what all swarms together may cost (UTC)
//   month_usd = 300
//   wind_down_s = 60      # for stopping and collecting before a budget ends
//
//   [daemon]
//   log_level = "info"    # debug, info, warn, error, off
//
//   [metrics]
//   listen = "unix:/run/skep/metrics.sock" # or 127.0.0.1:9180; empty: off
//
//   [forge]                # where `skep apply --mode pr` takes branches
//   remote = "origin"     # a remote of the repository
//   target = "main"       # what the request is to be merged into
//   token = "GIT_TOKEN"   # name of a secret: for https remotes, and for the command
//   token_variable = "GH_TOKEN"            # the command finds the token in this variable
//   command = ["gh", "pr", "create", "--head={branch}", "--base={target}", "--title={title}",
//              "--body-file={body_file}"]  # argv, run in the repository; empty: none
//
//   [scan]
//   policy = "block"      # or "warn", "prompt": what credentials in a work tree mean
//   limit_s = 120         # how long `skep run` may scan
//
//   [upload]
//   compression = "zstd"  # or "gzip"
//   level = 3             # zstd 1 to 19, gzip 1 to 9
//   keep_mib = 2048       # what packs of trees may take that are kept for the next run; 0: none
//
//   [policy], and on_stop of [daemon]: tools/skepd/policy_config.hpp
#pragma once

#include "messages/findings.hpp"
#include "tools/skepd/policy_config.hpp"
#include "transfer/archive_form.hpp"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace skep::tools {

/// A number of skep.toml, "unlimited", or nothing (the default).
struct limit_setting {
  bool given = false;
  std::optional<std::uint32_t> most; ///< Nothing: unlimited.
};

struct provider_entry {
  std::string api_url;
  std::string sandbox_url;
  std::string domain;
  std::string key_secret; ///< Name of the secret that holds the API key.
  actors::create_policy create;
  bool simulated = false; ///< kind = "sim".
  std::optional<double> usd_per_hour;
  limit_setting max_active, max_active_per_repo;
  limit_setting creates_per_minute, creates_per_hour, creates_per_day;
  limit_setting max_starting;
  std::string
      fallback; ///< Provider of what this one refuses, unless a run says otherwise; empty: none.
};

/// [forge]
struct forge_entry {
  std::string remote = "origin";
  std::string target = "main";
  std::string token_secret;   ///< Name of a secret; empty: git's own ways.
  std::string token_variable; ///< [A-Z0-9_]
  std::vector<std::string> command;
};

struct config {
  std::vector<std::string> local_bind;               ///< Absolute paths.
  std::vector<std::string> local_bind_at;            ///< Of each its "FILE:LINE".
  std::map<std::string, std::string> local_upstream; ///< Domain -> http(s) URL.
  std::map<std::string, std::string> local_prices;   ///< Model -> price (host/gateway/prices.hpp).
  std::map<std::string, provider_entry> providers;   ///< Without "local", which always exists.
  policy_config policy;
  limit_setting local_max_active; ///< Default: by memory and cores.
  limit_setting local_max_starting;
  double local_usd_per_hour = 0;
  std::optional<double> day_usd, month_usd;  ///< Budgets of all swarms.
  std::chrono::seconds budget_wind_down{60}; ///< 20 s to 1 h.
  std::string log_level = "info";            ///< As read_log_level() takes it.
  forge_entry forge;
  scan_policy scan = scan_policy::block;        ///< For `skep run` without --scan.
  std::chrono::seconds scan_limit{120};         ///< 1 s to 1 h.
  transfer::archive_form upload_form;           ///< A level that its compression has.
  std::uint64_t upload_keep_bytes = 2ull << 30; ///< 0: nothing is kept.
  std::string metrics_listen;                   ///< As read_metrics_address() takes it; empty: off.
};

/// Reads and validates a file; a missing one is the default configuration unless `must_exist`.
/// bad_config names file, line and key.
result<config> load_config(const std::filesystem::path& file, bool must_exist);

/// The configuration of a state directory: default_config_file(), which must be there where
/// SKEP_CONFIG names it. A name that is not absolute is bad_config: the daemon that `skep` starts
/// works in another folder.
result<config> load_config_of(const std::filesystem::path& state_root);

/// bad_config, with file, line and key, for the first folder of [local] bind that the host of this
/// state directory would refuse now. Folders come and go: load_config() does not ask.
error check_local_bind(const config& settings, const std::filesystem::path& state_root);

/// unknown_provider: which names are configured, and the file that another one belongs in.
error no_such_provider(const std::string& name, const config& settings,
                       const std::filesystem::path& file);

/// $SKEP_CONFIG, else STATE/skep.toml.
std::filesystem::path default_config_file(const std::filesystem::path& state_root);

} // namespace skep::tools
