// The user's terminal while somebody is attached: every key as it is typed, and put back on every
// way out.
#pragma once

#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <termios.h>

namespace skep::cli {

class raw_terminal {
public:
  /// Standard input and output are terminals.
  static bool possible();
  /// Switches standard input to raw.
  raw_terminal();
  ~raw_terminal() { restore(); }
  raw_terminal(const raw_terminal&) = delete;
  raw_terminal& operator=(const raw_terminal&) = delete;
  /// Puts it back; a second call does nothing.
  void restore();
  /// Columns and rows; 80x24 where the terminal does not say, at most 1000 each.
  static winsize size();

private:
  termios before_{};
  bool raw_ = false;
};

/// A key that no text holds: "ctrl-]", "ctrl-a" ... "ctrl-z", "ctrl-\", "ctrl-^", "ctrl-_". 0 for
/// anything else.
char parse_key(std::string_view text);

} // namespace skep::cli
