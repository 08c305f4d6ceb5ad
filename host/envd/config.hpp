// What skep-envd is told at its start, as JSON on a descriptor of its own (so that the access token
// is neither in argv nor in the environment):
//   {"accessToken":"...","envVars":{"K":"V"},"defaultUser":"user","defaultWorkdir":"/home/user",
//    "sandboxID":"i...","templateID":"base","gatewayPort":49984,
//    "logEvents":false}
// Every field may be left out.
#pragma once

#include "messages/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::envd {

/// Version of E2B's envd whose behaviour this one has.
inline constexpr std::string_view envd_version = "0.6.13";

struct config {
  std::string access_token; ///< Empty: everything is open.
  std::vector<std::pair<std::string, std::string>> env_vars;
  std::string default_user = "user";
  std::string default_workdir; ///< Empty: the home directory.
  std::string sandbox_id;
  std::string template_id;
  std::uint16_t gateway_port = 49984;
  bool log_events = false; ///< Print a JSON line for each process that starts or ends.
};

/// Reads the whole descriptor and closes it. Unknown fields are ignored, a field of a wrong type is
/// bad_config.
result<config> read_config(int fd);
result<config> parse_config(std::string_view text);

} // namespace skep::envd
