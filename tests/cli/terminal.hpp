// The real `skep` on a terminal of its own, and what a person sees there.
#pragma once

#include "tests/cli/program.hpp"

#include <sys/ioctl.h>

namespace skep::cli_test {

/// Lines as a terminal shows them, scrolled ones included: knows what run_view.cpp sends but for
/// how wrapping is turned off, as some do not, and takes every byte for one column.
class screen {
public:
  explicit screen(std::size_t columns) : columns_(columns) {}
  void take(char c) {
    if (!escape_.empty()) return sequence(c);
    if (c == '\x1b')
      escape_ = c;
    else if (c == '\r')
      column_ = 0;
    else if (c == '\n')
      next_row();
    else
      put(c);
  }
  /// What stands there, without empty lines at the end.
  std::string text() const {
    std::string out;
    for (const auto& row : rows_)
      out += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
    return out.substr(0, out.find_last_not_of('\n') + 1) + "\n";
  }

private:
  void next_row() {
    if (++row_ == rows_.size()) rows_.emplace_back();
  }
  void put(char c) {
    if (column_ == columns_) {
      next_row();
      column_ = 0;
    }
    auto at = std::min(column_, columns_ - 1);
    auto& row = rows_[row_];
    if (row.size() <= at) row.resize(at + 1, ' ');
    row[at] = c;
    column_ = at + 1;
  }
  void sequence(char c) {
    escape_ += c;
    if (escape_.size() == 2 || c < 0x40) return; // ESC [ 1 2 A
    if (c == 'A') row_ -= std::min<std::size_t>(row_, std::stoul(escape_.substr(2)));
    if (c == 'K' || c == 'J') rows_[row_].resize(std::min(rows_[row_].size(), column_));
    if (c == 'J') rows_.resize(row_ + 1);
    escape_.clear();
  }
  std::size_t columns_, row_ = 0, column_ = 0;
  std::string escape_;
  std::vector<std::string> rows_{1};
};

/// A program whose input and outputs are a terminal that takes colours; killed and reaped at the
/// end of its scope.
class on_terminal {
public:
  on_terminal(std::vector<std::string> argv, const std::string& home, unsigned short columns = 80)
      : screen_(columns) {
    char name[64];
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0
        || ::ptsname_r(master_, name, sizeof name) != 0)
      throw std::runtime_error("posix_openpt");
    winsize size{24, columns, 0, 0};
    ::ioctl(master_, TIOCSWINSZ, &size);
    auto environment = clean_environment(home);
    std::vector<char*> args, env;
    for (auto& x : argv)
      args.push_back(x.data());
    args.push_back(nullptr);
    for (auto& x : environment) {
      if (x.starts_with("TERM=")) x = "TERM=xterm";
      env.push_back(x.data());
    }
    env.push_back(nullptr);
    // The leader of a session gets the terminal that it opens as its own, and Ctrl+C from there.
    posix_spawnattr_t how;
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, name, O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, 0, 2);
    auto failed = ::posix_spawn(&pid_, argv[0].c_str(), &files, &how, args.data(), env.data());
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    if (failed != 0) throw std::runtime_error("posix_spawn " + argv[0]);
  }
  on_terminal(const on_terminal&) = delete;
  ~on_terminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(master_);
  }
  void type(std::string_view keys) {
    if (::write(master_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size()))
      throw std::runtime_error("write to a terminal");
  }
  /// What can be read on it now.
  std::string text() const { return screen_.text(); }
  /// True when `what` came to be read on it within 15 s.
  bool shows(const std::string& what) {
    auto end = std::chrono::steady_clock::now() + 15s;
    while (text().find(what) == std::string::npos)
      if (!read_more(end)) return false;
    return true;
  }
  /// Its exit code; -1 when it did not end within 15 s.
  int wait() {
    auto end = std::chrono::steady_clock::now() + 15s;
    while (read_more(end)) {
    }
    if (std::chrono::steady_clock::now() >= end) return -1;
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

private:
  /// False at the deadline, and when nobody has the terminal open any more (EIO).
  bool read_more(std::chrono::steady_clock::time_point end) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd item{master_, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&item, 1, static_cast<int>(left.count())) <= 0) return false;
    char piece[4096];
    auto n = ::read(master_, piece, sizeof piece);
    if (n <= 0) return false;
    for (ssize_t i = 0; i < n; ++i)
      screen_.take(piece[i]);
    return true;
  }
  pid_t pid_ = -1;
  int master_ = -1;
  screen screen_;
};

} // namespace skep::cli_test
