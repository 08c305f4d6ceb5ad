// The pane holder's unix socket D/control.sock: one request, one reply line, end of connection.
//
//   input KEY LENGTH\n + LENGTH bytes    -> written | duplicate | no_input | exited
//   close KEY\n    (end of input)        -> written | duplicate | no_input | exited
//   signal INT|TERM|KILL|STOP|CONT\n     -> signalled | exited
//   resize COLUMNS ROWS\n                -> resized | no_pty
//   anything else                        -> error TEXT
//
// The reply to KILL comes when nothing of the pane lives any more, also where its agent had ended
// and only what it left was still being ended. What cannot be killed is left behind after 5 s; an
// agent that outlives them is an error.
//
// STOP and CONT go to all descendants of the holder, as KILL does; what was stopped goes on at INT
// and TERM, or nothing in it could act on them.
//
// KEY: 1 to 128 characters of [A-Za-z0-9._:-]. The reply to input comes when the bytes are in the
// agent's pipe or terminal; the key is on disk before. A key that was seen is `duplicate`, even
// when its bytes are still waiting.
#pragma once

#include "guest/layout.hpp"

#include <sys/un.h>

namespace skep::guest {

inline constexpr std::size_t max_input_bytes = 1 << 20;

struct control_request {
  enum class verb : std::uint8_t { input, close, signal, resize };
  verb what = verb::input;
  std::string key;
  std::size_t length = 0; ///< Of the bytes behind the line.
  int signal = 0;
  unsigned short columns = 0, rows = 0;
};

/// Parses a request line without its newline; errc::bad_frame.
result<control_request> parse_control(std::string_view line);
bool valid_key(std::string_view key);

/// A socket name that fits however long `dir` is. `dir_fd` must stay open while it is used.
result<sockaddr_un> control_address(const std::string& dir, unique_fd& dir_fd);

/// Sends a request and waits for the reply; "exited" when the pane has ended, errc::not_found when
/// it was never started, errc::timed_out after `limit`.
result<std::string> ask_holder(const std::string& dir, const std::string& line,
                               std::string_view data, std::chrono::milliseconds limit);

/// {"state": ...} of the three commands. A KILL where nothing was started bars a later start, and
/// is answered as one of a pane that has ended.
result<json> send_input(const std::string& dir, const std::string& key, std::string_view data,
                        bool end_of_input);
result<json> send_signal(const std::string& dir, const std::string& name);
result<json> send_resize(const std::string& dir, unsigned columns, unsigned rows);

} // namespace skep::guest
