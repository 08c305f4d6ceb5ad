// The few system-call helpers of the host: an owned descriptor, io errors with the system's reason,
// whole reads and writes, and removal of trees that a sandbox has written (and may have made
// nasty).
#pragma once

#include "messages/error.hpp"

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace skep::host {

/// Owns one descriptor.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) : fd_(fd) {}
  unique_fd(unique_fd&& x) noexcept : fd_(x.release()) {}
  unique_fd& operator=(unique_fd&& x) noexcept {
    reset(x.release());
    return *this;
  }
  ~unique_fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

private:
  int fd_ = -1;
};

struct fd_pair {
  unique_fd read, write;
};

/// errc::io with "WHAT: reason of errno".
error system_error(std::string what);
/// The reason of an errno value as text.
std::string errno_text(int code);

/// A pipe, both ends close-on-exec.
result<fd_pair> make_pipe();
/// Opens a directory for use as the base of *at calls.
result<unique_fd> open_dir(int at, const std::string& path);
/// mkdir -p for one level below `at`; an existing directory is good.
result<void> make_dir(int at, const std::string& name, unsigned mode);

/// Reads to the end of file; errc::too_large beyond `limit_bytes`.
result<std::string> read_all(int fd, std::size_t limit_bytes);
result<std::string> read_file(const std::string& path, std::size_t limit_bytes);
result<void> write_all(int fd, std::string_view data);
/// Writes beside the target, then renames: readers see the old file or the whole new one. No link
/// is followed, at neither name: others may write to the directory.
result<void> write_file_atomic(const std::string& path, std::string_view data, unsigned mode);

/// Removes `name` below the directory `at` with all it holds. Follows no link, takes away missing
/// permissions of our own directories, and needs constant stack and descriptors however deep the
/// tree is. Absent is success. errc::cancelled soon after `stop` became true, with the rest still
/// there; it may be set by any thread.
result<void> remove_tree(int at, const std::string& name, const std::atomic<bool>* stop = nullptr);

/// A socket path that fits sockaddr_un however deep the directory lies: /proc/self/fd/N/name.
std::string socket_path(int dir_fd, std::string_view name);
/// Binds and listens at `name` in `dir_fd` with mode 0600 (needs umask 077); non-blocking,
/// close-on-exec.
result<unique_fd> listen_unix(int dir_fd, std::string_view name, int backlog);

/// Sets FD to close-on-exec or not.
void set_cloexec(int fd, bool on);

} // namespace skep::host
