// The terminal a viewer runs on: its modes while somebody looks, its size, and the way back.
#pragma once

#include <optional>
#include <termios.h>

namespace skep::guest {

struct terminal_size {
  unsigned columns = 0, rows = 0;
};

/// Changes the terminal on standard input and puts it back at the end; does nothing where standard
/// input is no terminal.
class own_terminal {
public:
  enum class mode {
    raw,   ///< Every byte as it is typed, output as it is written: for a pane with a terminal.
    lines, ///< Whole lines with echo: for a pane that reads a pipe.
    silent ///< Every byte, no echo, newlines of the output as usual: for watching a pipe.
  };
  /// `detach_key` raises SIGQUIT in the mode of lines; 0: no key does.
  own_terminal(mode m, unsigned char detach_key);
  ~own_terminal();
  own_terminal(const own_terminal&) = delete;
  own_terminal& operator=(const own_terminal&) = delete;
  /// Standard input is a terminal.
  bool present() const { return present_; }
  /// Present size; none where there is none.
  static std::optional<terminal_size> size();

private:
  bool present_ = false;
  termios before_{};
};

} // namespace skep::guest
