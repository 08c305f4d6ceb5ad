// `skep-guest view`: a pane for people, in a terminal.
#pragma once

#include "messages/error.hpp"

#include <cstdint>
#include <string>

namespace skep::guest {

/// Ctrl-]
inline constexpr unsigned default_detach_key = 0x1d;

struct view_options {
  std::string dir; ///< Of one attempt of the pane.
  bool read_only = false;
  /// Of the log, before what is live; begins with a whole line.
  std::uint64_t tail_bytes = 256 * 1024;
  /// The byte that ends the viewer; 0: none does.
  unsigned detach_key = default_detach_key;
};

/// Shows the end of the pane's log and then what comes, until the agent has ended. What is typed
/// goes to the agent: byte by byte when the pane has a terminal, which then also gets the size of
/// this one; else line by line. Read-only, nothing goes in, and Ctrl-C ends the viewer too.
/// Ends with ok also at the detach key, at SIGTERM and SIGHUP, and when standard output is closed.
result<void> view_pane(const view_options& options);

} // namespace skep::guest
