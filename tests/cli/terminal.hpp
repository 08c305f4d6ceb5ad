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

/// Its input and outputs are a terminal that takes colours.
class on_terminal : public running_program {
public:
  on_terminal(std::vector<std::string> argv, const std::string& home, unsigned short columns = 80)
      : screen_(columns) {
    char name[64];
    from_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (from_ < 0 || ::grantpt(from_) != 0 || ::unlockpt(from_) != 0
        || ::ptsname_r(from_, name, sizeof name) != 0)
      throw std::runtime_error("posix_openpt");
    winsize size{24, columns, 0, 0};
    ::ioctl(from_, TIOCSWINSZ, &size);
    auto environment = clean_environment(home);
    for (auto& x : environment)
      if (x.starts_with("TERM=")) x = "TERM=xterm";
    // The leader of a session gets the terminal that it opens as its own, and Ctrl+C from there.
    posix_spawnattr_t how;
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, name, O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, 0, 2);
    spawn(std::move(argv), std::move(environment), files, &how);
    posix_spawnattr_destroy(&how);
  }
  void type(std::string_view keys) {
    if (::write(from_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size()))
      throw std::runtime_error("write to a terminal");
  }
  std::string text() const override { return screen_.text(); }

private:
  void took(std::string_view piece) override {
    for (char c : piece)
      screen_.take(c);
  }
  screen screen_;
};

} // namespace skep::cli_test
