#include "tools/skep/raw_terminal.hpp"

#include "messages/commands.hpp"

#include <algorithm>
#include <unistd.h>

namespace skep::cli {

bool raw_terminal::possible() {
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
}

raw_terminal::raw_terminal() {
  if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
  auto now = before_;
  ::cfmakeraw(&now);
  raw_ = ::tcsetattr(STDIN_FILENO, TCSADRAIN, &now) == 0;
}

void raw_terminal::restore() {
  if (!raw_) return;
  raw_ = false;
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

winsize raw_terminal::size() {
  winsize out{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &out) != 0 || out.ws_col == 0 || out.ws_row == 0) {
    out.ws_col = 80;
    out.ws_row = 24;
  }
  constexpr auto most = static_cast<unsigned short>(max_terminal_side);
  out.ws_col = std::min(out.ws_col, most);
  out.ws_row = std::min(out.ws_row, most);
  return out;
}

char parse_key(std::string_view text) {
  constexpr std::string_view start = "ctrl-";
  if (text.size() != start.size() + 1 || !text.starts_with(start)) return 0;
  char c = text.back();
  bool good = (c >= 'a' && c <= 'z') || c == ']' || c == '\\' || c == '^' || c == '_';
  return good ? static_cast<char>(c & 0x1f) : char{0};
}

} // namespace skep::cli
