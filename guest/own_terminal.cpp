#include "guest/own_terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

namespace skep::guest {

own_terminal::own_terminal(mode m, unsigned char detach_key) {
  if (::tcgetattr(0, &before_) != 0) return;
  present_ = true;
  auto now = before_;
  if (m == mode::lines) {
    now.c_lflag |= ICANON | ECHO | ECHOE | ECHOK | ISIG | IEXTEN;
    now.c_iflag |= ICRNL;
    now.c_oflag |= OPOST | ONLCR;
    now.c_cc[VINTR] = 3;
    now.c_cc[VQUIT] = detach_key != 0 ? detach_key : static_cast<unsigned char>(_POSIX_VDISABLE);
    now.c_cc[VSUSP] = _POSIX_VDISABLE;
  } else {
    ::cfmakeraw(&now);
    if (m == mode::silent) now.c_oflag |= OPOST | ONLCR;
  }
  ::tcsetattr(0, TCSADRAIN, &now);
}

own_terminal::~own_terminal() {
  if (present_) ::tcsetattr(0, TCSADRAIN, &before_);
}

std::optional<terminal_size> own_terminal::size() {
  winsize w{};
  for (int fd : {0, 1})
    if (::ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0)
      return terminal_size{w.ws_col, w.ws_row};
  return {};
}

} // namespace skep::guest
