// Ctrl+C, hang-up and termination as values that a loop asks for, so that nothing is interrupted
// halfway.
#pragma once

#include "tools/skep/app.hpp"

#include <chrono>
#include <csignal>
#include <initializer_list>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace skep::cli {

/// Blocks SIGINT, SIGHUP, SIGTERM and `more` for its scope; make it before any thread.
class signal_watch {
public:
  explicit signal_watch(std::initializer_list<int> more = {}) {
    sigset_t set;
    sigemptyset(&set);
    for (int s : {SIGINT, SIGHUP, SIGTERM})
      sigaddset(&set, s);
    for (int s : more)
      sigaddset(&set, s);
    ::pthread_sigmask(SIG_BLOCK, &set, &old_);
    fd_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  }
  signal_watch(const signal_watch&) = delete;
  signal_watch& operator=(const signal_watch&) = delete;
  ~signal_watch() {
    ::close(fd_);
    ::pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }
  /// The next signal that came, or 0. Does not wait.
  int next() {
    signalfd_siginfo info{};
    return ::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)
               ? static_cast<int>(info.ssi_signo)
               : 0;
  }
  /// Whether one of the three that end a command came to a watch of this process and was not taken
  /// yet. Takes nothing, and is false without a watch: for waits that know of none.
  static bool pending() {
    sigset_t waiting;
    sigemptyset(&waiting);
    ::sigpending(&waiting);
    return sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGHUP) == 1
           || sigismember(&waiting, SIGTERM) == 1;
  }
  /// Readable when a signal came; for poll(2).
  int fd() const { return fd_; }
  /// Waits until a signal comes, at most `limit`.
  void wait(std::chrono::milliseconds limit) const {
    pollfd item{fd_, POLLIN, 0};
    ::poll(&item, 1, static_cast<int>(limit.count()));
  }

private:
  sigset_t old_{};
  int fd_ = -1;
};

/// The exit code of a command that this signal ends.
inline int exit_code_of_signal(int s) {
  return s == SIGHUP ? exit_hangup : exit_interrupted;
}

/// The end of a command by an error: silent with the exit code of a signal that came meanwhile and
/// may be its cause, else shown.
inline int fail_unless_left(const app& a, signal_watch& signals, const error& e) {
  auto s = signals.next();
  return s != 0 ? exit_code_of_signal(s) : fail(a, e);
}

} // namespace skep::cli
