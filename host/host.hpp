// The program `skep-host` without its command line.
#pragma once

#include "host/privileges.hpp"
#include "host/rate_limit.hpp"
#include "host/spec.hpp"
#include "messages/error.hpp"

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace skep::host {

struct host_options {
  std::string listen = "127.0.0.1:3000";
  std::string state_path;
  std::string key_file;           ///< One key a line; `#` starts a comment line.
  bool insecure_loopback = false; ///< No key needed; loopback addresses only.
  std::vector<std::string> binds; ///< Read-only inside, at the same path.
  std::map<std::string, std::string> gateway_upstreams; ///< Domain to URL.
  string_map prices; ///< Model to its price, in place of the known one.
  std::string service_user{default_service_user};
  std::string ready_file;
  std::string tag;       ///< Free text of whoever starts it; repeated where it says what it is.
  std::string envd_path; ///< Empty: skep-envd beside this program.
  std::chrono::seconds idle_exit{0}; ///< 0: never.
  std::size_t max_sandboxes = 0;     ///< 0: from the limit of open files.
  resource_limits limits;            ///< Of each sandbox.
  rate create_rate;                  ///< Creations of sandboxes, for each key.
  rate control_rate;                 ///< Other control requests, for each key.
};

/// Serves until SIGTERM or SIGINT (holders and sandboxes live on) or the idle time is over. When
/// serving it prints {"url","pid","version","tag"} on one line of standard output and writes the
/// same to ready_file. Started by root it becomes the service user first.
result<void> run_host(const host_options& options);

} // namespace skep::host
