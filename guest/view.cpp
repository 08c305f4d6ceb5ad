#include "guest/view.hpp"

#include "guest/control.hpp"
#include "guest/own_terminal.hpp"
#include "transfer/freed_front.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

constexpr int look_again_ms = 1000; // when no event comes, say, for want of inotify instances
constexpr char interrupt_key = 3;

own_terminal::mode mode_of(const view_options& o, bool pane_has_terminal) {
  if (pane_has_terminal) return own_terminal::mode::raw;
  return o.read_only ? own_terminal::mode::silent : own_terminal::mode::lines;
}

class viewer {
public:
  explicit viewer(const view_options& o)
      : o_(o), raw_(has_terminal(o.dir)),
        terminal_(mode_of(o, raw_), static_cast<unsigned char>(o.detach_key)) {}

  result<void> run() {
    if (auto opened = open(); !opened) return opened;
    tell_size();
    bool more = true; // there may be bytes in the log that were not read
    while (!leaving_) {
      // Asked before the log is read: what came before the end is shown.
      bool ended = !more && look(o_.dir) != pane_state::running;
      more = show_piece();
      if (ended && !more) return say_end();
      if (!leaving_) wait(more ? 0 : look_again_ms);
    }
    return {};
  }

private:
  result<void> open() {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (int s : {SIGWINCH, SIGTERM, SIGHUP, SIGINT, SIGQUIT})
      sigaddset(&set, s);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = unique_fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    watch_ = unique_fd{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    if (watch_)
      ::inotify_add_watch(watch_.get(), o_.dir.c_str(), IN_MODIFY | IN_MOVED_TO | IN_CLOSE_WRITE);
    log_ = unique_fd{::open((o_.dir + "/log").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
    if (!log_) return transfer::io_error(o_.dir + "/log", errno);
    return skip_to_tail();
  }

  result<void> skip_to_tail() {
    struct stat st {};
    if (::fstat(log_.get(), &st) != 0) return transfer::io_error(o_.dir + "/log", errno);
    auto size = static_cast<std::uint64_t>(st.st_size);
    if (size <= o_.tail_bytes) return {};
    at_ = line_behind(static_cast<off_t>(size - o_.tail_bytes));
    return {};
  }

  /// The first whole line from there on. What is cut in front of it may be the rest of a secret.
  off_t line_behind(off_t from) {
    auto n = ::pread(log_.get(), buffer_.data(), buffer_.size(), from);
    std::string_view piece{buffer_.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
    auto line = piece.find('\n');
    return line == piece.npos ? from : from + static_cast<off_t>(line) + 1;
  }

  /// False when there was nothing.
  bool show_piece() {
    auto n = ::pread(log_.get(), buffer_.data(), buffer_.size(), at_);
    if (n <= 0) return false;
    // A flood overtakes a terminal: what was freed meanwhile may have been read as zeros.
    if (auto begin = static_cast<off_t>(transfer::kept_from(log_.get())); begin > at_) {
      at_ = line_behind(begin);
      remark("the agent writes faster than is shown here: a part was left out");
      return true;
    }
    at_ += n;
    if (!transfer::write_all(1, {buffer_.data(), static_cast<std::size_t>(n)})) leaving_ = true;
    return true;
  }

  void wait(int ms) {
    pollfd fds[4] = {{watch_.get(), POLLIN, 0},
                     {input_ ? 0 : -1, POLLIN, 0},
                     {1, 0, 0},
                     {signals_.get(), POLLIN, 0}};
    ::poll(fds, 4, ms);
    if (fds[2].revents & (POLLERR | POLLHUP | POLLNVAL)) leaving_ = true;
    while (watch_ && ::read(watch_.get(), buffer_.data(), buffer_.size()) > 0) {
    }
    if (fds[3].revents) take_signals();
    if (!leaving_ && fds[1].revents) take_input();
  }

  void take_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      switch (info.ssi_signo) {
      case SIGWINCH:
        tell_size();
        break;
      case SIGINT:
        if (terminal_.present() && !o_.read_only)
          remark("an interrupt is not passed on to a pane without a terminal");
        else
          leaving_ = true;
        break;
      default: // SIGQUIT is the detach key of the mode of lines
        leaving_ = true;
      }
    }
  }

  void take_input() {
    auto n = ::read(0, buffer_.data(), buffer_.size());
    if (n < 0 && errno == EINTR) return;
    if (n < 0 && terminal_.present()) leaving_ = true; // hung up
    if (n == 0 && terminal_.present()) return remark("the end of input is not passed on");
    if (n <= 0) {
      input_ = false;
      return;
    }
    std::string_view typed{buffer_.data(), static_cast<std::size_t>(n)};
    if (auto key = detached_at(typed); key != typed.npos) {
      leaving_ = true;
      typed = typed.substr(0, key);
    }
    if (!typed.empty() && !o_.read_only) pass_in(typed);
  }

  std::size_t detached_at(std::string_view typed) const {
    if (!terminal_.present()) return typed.npos;
    auto at = o_.detach_key != 0 ? typed.find(static_cast<char>(o_.detach_key)) : typed.npos;
    return o_.read_only ? std::min(at, typed.find(interrupt_key)) : at;
  }

  void pass_in(std::string_view typed) {
    auto sent = send_input(o_.dir, "view:" + random_token(16), typed, false);
    if (!sent) return remark("what was typed was not delivered");
    if ((*sent)["state"] == "no_input") remark("this pane takes no input");
  }

  /// The pane's terminal becomes as large as this one. A failure means that it is ending.
  void tell_size() {
    if (o_.read_only || !raw_) return;
    if (auto now = own_terminal::size())
      if (!send_resize(o_.dir, now->columns, now->rows)) return;
  }

  void remark(std::string_view text) {
    if (!transfer::write_all(2, "skep: " + std::string{text} + "\r\n")) leaving_ = true;
  }

  result<void> say_end() {
    if (auto exit = read_exit(o_.dir))
      remark("the agent ended with "
             + (exit->signal ? "signal " + std::to_string(exit->signal)
                             : "exit code " + std::to_string(exit->exit_code)));
    return {};
  }

  const view_options& o_;
  const bool raw_; ///< The pane has a terminal.
  own_terminal terminal_;
  unique_fd signals_, watch_, log_;
  off_t at_ = 0; ///< Of the log, what is shown next.
  std::array<char, 16 * 1024> buffer_;
  bool input_ = true;
  bool leaving_ = false;
};

} // namespace

result<void> view_pane(const view_options& options) {
  if (look(options.dir) == pane_state::absent)
    return make_error(errc::not_found, "no pane in " + options.dir);
  return viewer{options}.run();
}

} // namespace skep::guest
