// `skep-guest windows`: all panes of a sandbox in tmux, for people. tmux is only a viewer: each of
// its panes runs `skep-guest view`, and nothing of the agents depends on it.
//
// Every sandbox has a tmux server and a socket of its own, ~/.skep/tmux/SESSION.sock, and takes no
// configuration. The session is made when it is first asked for. One that shows other panes or
// attempts than asked for, or that was not finished, is made anew.
#pragma once

#include "messages/json.hpp"

#include <string>
#include <vector>

namespace skep::guest {

/// Size of the screen until a terminal is attached, and panes of one window.
inline constexpr unsigned screen_columns = 200, screen_rows = 50;
inline constexpr std::size_t panes_per_window = 9;
inline constexpr std::size_t max_windows_panes = 100;

struct shown_pane {
  std::string name; ///< "p0"
  std::string dir;  ///< Of the attempt that is shown.
};

struct windows_options {
  std::string session; ///< "skep-" and the sandbox's id.
  std::vector<shown_pane> panes;
  bool read_only = false;
};

/// "NAME:DIR" with an absolute folder; errc::bad_argument.
result<shown_pane> parse_shown_pane(std::string_view text);

/// Makes the session unless it is there as asked for: {"session","socket","windows","panes"}.
/// errc::bad_argument for a session or panes that cannot be, errc::program_missing without tmux.
result<json> make_windows(const windows_options& options);

/// The same, then becomes the tmux client of this terminal; returns only when that failed.
error show_windows(const windows_options& options);

} // namespace skep::guest
