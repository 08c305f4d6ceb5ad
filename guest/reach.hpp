// `skep-guest reach`: what answers from inside a sandbox. For the daemon, which asks before
// anything of the user is inside whether the network is as it was ordered.
#pragma once

#include "messages/json.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skep::guest {

/// What to try: a literal address, for no name is ever looked up.
struct reach_target {
  std::string name; ///< As it was given.
  std::string address;
  std::uint16_t port = 0;
  std::string path; ///< Of an HTTP request; empty: the beginning of TLS.
};

/// "ADDRESS@PORT/PATH" (IPv4 or IPv6, without brackets), asked by HTTP. bad_argument otherwise.
result<reach_target> parse_http_target(std::string_view text);
/// "ADDRESS@PORT", asked by TLS. bad_argument otherwise.
result<reach_target> parse_tls_target(std::string_view text);

/// How far it came. A connection alone says little: a provider's egress may take it itself, and
/// judge by what is said first.
enum class reach : std::uint8_t {
  unreachable, ///< No way there, or none that is allowed.
  refused,     ///< Something said no to the connection.
  no_answer,   ///< The connection was not made within the limit.
  connected,   ///< It was made, and what was asked for did not come.
  answered     ///< A line of HTTP with a status came, or a server's hello of TLS.
};
std::string_view reach_name(reach x);

/// What connect(2) says, by its error number. Numbers that tell of this process (no descriptor, no
/// memory) and not of the network are not for this function: they are errors of try_to_reach.
reach reach_of(int number);

struct reach_answer {
  std::string name; ///< Of its target.
  reach state = reach::no_answer;
  int status = 0; ///< Of HTTP; 0: none.
};

/// Tries all of them side by side and ends within `limit`. HTTP: GET, with the headers that the
/// known metadata services ask for; an answer 401 is followed by a request for a session token
/// (EC2's second version, which Firecracker's service speaks, too) and the same GET with it, and
/// the better status counts. TLS: a ClientHello without a name. Nothing else is sent, and no answer
/// is kept. errc::io when a socket cannot be made for want of something here.
result<std::vector<reach_answer>> try_to_reach(const std::vector<reach_target>& targets,
                                               std::chrono::milliseconds limit);

/// {"targets":[{"target","state","status"}]}; "status" only where there is one.
json reach_json(const std::vector<reach_answer>& answers);

} // namespace skep::guest
