// Small owners and helpers over POSIX files, shared by transfer and guest.
#pragma once

#include "messages/error.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace skep::transfer {

/// Owns a file descriptor. -1 means none.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  unique_fd(const unique_fd&) = delete;
  unique_fd& operator=(const unique_fd&) = delete;
  ~unique_fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

private:
  int fd_ = -1;
};

/// errc::io (disk_full for ENOSPC and EDQUOT) with "`what`: reason of `number`".
error io_error(std::string_view what, int number);

/// Writes all of `data`; blocks; retries EINTR and partial writes.
result<void> write_all(int fd, std::string_view data);
/// Reads up to `limit` bytes to the end of the file; more is errc::too_large.
result<std::string> read_file(const std::string& path, std::size_t limit = 64u << 20);
/// Replaces `path` as a whole: temporary name, fsync, rename, fsync of the directory.
result<void> write_file_durably(const std::string& path, std::string_view data, unsigned mode);
/// What was written to the file system that holds the directory `dir` is on disk when this returns.
result<void> put_on_disk(const std::string& dir);
/// True when the error, ours or one that git wrote, says that a disk or a quota is full. Git says
/// it in words alone, among names that may come from a sandbox: those prove nothing by themselves.
bool tells_of_full_disk(const error& e);
/// Makes the directory and its missing parents with mode 0700.
result<void> make_dirs(const std::string& path);
/// Removes a file or a whole tree; what is not there is no error. Never follows a symlink.
void remove_tree(const std::string& path);

/// A directory made by mkdtemp(3), removed with all it holds when this ends.
class temp_dir {
public:
  /// Under `parent`, or under $TMPDIR (else /tmp) when empty.
  static result<temp_dir> make(const std::string& parent = {});
  temp_dir(temp_dir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  temp_dir& operator=(temp_dir&&) = delete;
  ~temp_dir();
  const std::string& path() const { return path_; }

private:
  explicit temp_dir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

using steady_time = std::chrono::steady_clock::time_point;
/// Milliseconds until `deadline`, rounded up, at least 0, for poll(2).
int ms_until(steady_time deadline);

} // namespace skep::transfer
