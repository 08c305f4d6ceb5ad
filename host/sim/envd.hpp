// envd of a simulated sandbox: E2B's wire format (host/envd reads and writes it) over what box.hpp
// holds.
#pragma once

#include "host/envd/exchange.hpp"
#include "host/envd/failure.hpp"
#include "host/sim/box.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace skep::host::sim {

using envd::exchange;

/// What befalls one stream of events.
struct stream_mishap {
  std::optional<std::uint64_t> cut_after_bytes; ///< Then the connection closes, in mid-envelope.
  double repeat_percent = 0;                    ///< Of its envelopes of data.
  std::uint64_t number = 0;                     ///< Of the stream, for its draws.
};

/// One request being answered.
struct envd_call {
  std::shared_ptr<box> where;
  exchange& x;
  stream_mishap mishap;
};

/// What GET /metrics says: drawn from the seed, the same each time.
json usage_figures(const box& b);

/// True for the users of a simulated sandbox: `user`, who is meant by nothing too.
inline bool known_user(std::string_view name) {
  return name.empty() || name == "user";
}

/// Answers the request whose header `c.x` has read. Throws envd::peer_gone.
task<void> answer_envd(envd_call& c);

// filesystem.Filesystem and /files (envd_files.cpp): the answer, or a thrown failure.
json files_stat(box& b, const json& request);
json files_list(box& b, const json& request);
json files_make_dir(box& b, const json& request);
json files_move(box& b, const json& request);
json files_remove(box& b, const json& request);
task<void> files_get(envd_call& c);
task<void> files_post(envd_call& c);
task<void> files_compose(envd_call& c);

} // namespace skep::host::sim
