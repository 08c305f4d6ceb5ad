#include "guest/follow_output.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <unistd.h>

namespace skep::guest {
namespace {
// A pipe that polls as writable takes this much without blocking (PIPE_BUF on Linux).
constexpr std::size_t pipe_piece_bytes = 4096;
} // namespace

bool follow_output::write(std::string_view data) {
  while (!data.empty() && !broken_) {
    pollfd fds[2] = {{fd_, POLLOUT, 0}, {wake_, POLLIN, 0}};
    int n = ::poll(fds, 2, transfer::ms_until(deadline_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || (fds[0].revents & (POLLERR | POLLNVAL))) {
      broken_ = true;
    } else if (fds[0].revents & POLLOUT) {
      auto written = ::write(fd_, data.data(), std::min(data.size(), pipe_piece_bytes));
      if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (written < 0)
        broken_ = true;
      else
        data.remove_prefix(static_cast<std::size_t>(written));
    } else if (interrupted_()) {
      broken_ = true;
    }
  }
  if (!broken_) last_ = std::chrono::steady_clock::now();
  return !broken_;
}

} // namespace skep::guest
