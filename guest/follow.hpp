// `skep-guest follow`: sends what the panes of a sandbox write as frames (messages/follow.hpp).
#pragma once

#include "guest/layout.hpp"

#include <map>
#include <vector>

namespace skep::guest {

/// Where the daemon's log of a pane ends.
struct known_offset {
  pane_id pane;
  std::uint32_t generation = 0; ///< Earlier generations of the pane are not sent again.
  std::uint64_t offset = 0;
};

struct follow_options {
  std::string root; ///< R of layout.hpp; made when missing.
  std::uint64_t epoch = 0;
  std::vector<known_offset> from; ///< Panes not named here are sent from their beginning.
  std::chrono::seconds limit{1800};
  std::chrono::milliseconds pulse{30000}; ///< Longest silence: each pulse wakes the daemon.
  int out_fd = 1;
};

/// PANE:GENERATION:OFFSET
result<known_offset> parse_known_offset(std::string_view text);

/// Follows until the deadline (ok), the reader's end (ok), or until a newer epoch or follower takes
/// over (errc::stale_epoch, said in a failure frame as far as the reader takes it).
result<void> follow(const follow_options& options);

} // namespace skep::guest
