#include "guest/view.hpp"

#include "guest/control.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace skep::guest {
namespace {
constexpr int look_again_ms = 1000; // when no event comes, say, for want of inotify instances
}

result<void> view_pane(const std::string& dir) {
  ::signal(SIGPIPE, SIG_IGN);
  if (look(dir) == pane_state::absent) return make_error(errc::not_found, "no pane in " + dir);
  unique_fd watch{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  if (watch)
    ::inotify_add_watch(watch.get(), dir.c_str(), IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE);
  unique_fd log{::open((dir + "/log").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (!log) return transfer::io_error(dir + "/log", errno);
  std::array<char, 16 * 1024> buffer;
  bool input = true;
  for (;;) {
    bool ended = look(dir) != pane_state::running; // asked before the log is read to its end
    for (ssize_t n; (n = ::read(log.get(), buffer.data(), buffer.size())) > 0;)
      if (!transfer::write_all(1, {buffer.data(), static_cast<std::size_t>(n)})) return {};
    if (ended) break;
    pollfd fds[3] = {{watch.get(), POLLIN, 0}, {input ? 0 : -1, POLLIN, 0}, {1, 0, 0}};
    ::poll(fds, 3, look_again_ms);
    if (fds[2].revents & (POLLERR | POLLHUP | POLLNVAL)) return {};
    while (watch && ::read(watch.get(), buffer.data(), buffer.size()) > 0) {
    }
    if (!fds[1].revents) continue;
    auto n = ::read(0, buffer.data(), buffer.size());
    if (n <= 0) {
      input = false;
      continue;
    }
    auto sent = send_input(dir, "view:" + random_token(16),
                           {buffer.data(), static_cast<std::size_t>(n)}, false);
    std::string_view trouble = !sent ? "skep: the line was not delivered\r\n"
                               : (*sent)["state"] == "no_input"
                                   ? "skep: this pane takes no input\r\n"
                                   : "";
    if (!transfer::write_all(2, trouble)) return {};
  }
  if (auto exit = read_exit(dir)) {
    auto text = exit->signal ? "signal " + std::to_string(exit->signal)
                             : "exit code " + std::to_string(exit->exit_code);
    if (!transfer::write_all(2, "skep: the agent ended with " + text + "\r\n")) return {};
  }
  return {};
}

} // namespace skep::guest
