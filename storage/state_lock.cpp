// The lock of a state directory: an open-file-description lock, so that it belongs to a descriptor
// and not to whichever part of the process closes the file first.
#include "storage/files.hpp"
#include "storage/state_dir.hpp"

#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::storage {
namespace {

int lock_command(int fd, int command, short type, short* found = nullptr) {
  struct flock region {};
  region.l_type = type;
  region.l_whence = SEEK_SET;
  int code = -1;
  do
    code = ::fcntl(fd, command, &region);
  while (code != 0 && errno == EINTR);
  if (found != nullptr) *found = region.l_type;
  return code;
}

std::int64_t pid_in(int fd) {
  char text[32] = {};
  auto n = ::pread(fd, text, sizeof text - 1, 0);
  std::int64_t pid = 0;
  if (n > 0) std::from_chars(text, text + n, pid);
  return pid;
}

result<void> write_pid(int fd, const state_paths& paths) {
  auto text = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0
      || ::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    return system_error("cannot write " + paths.lock().string(), errno);
  return {};
}

error held_by(std::int64_t pid, const state_paths& paths) {
  return make_error(errc::daemon_running,
                    (pid > 0 ? "process " + std::to_string(pid) : std::string{"another process"})
                        + " holds " + paths.lock().string());
}

} // namespace

result<state_lock> state_lock::acquire(const state_paths& paths) {
  unique_fd fd{::open(paths.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return system_error("cannot open " + paths.lock().string(), errno);
  if (lock_command(fd.get(), F_OFD_SETLK, F_WRLCK) != 0) {
    if (errno == EAGAIN || errno == EACCES) return held_by(pid_in(fd.get()), paths);
    return system_error("cannot lock " + paths.lock().string(), errno);
  }
  if (auto done = write_pid(fd.get(), paths); !done) return done.err();
  return state_lock{fd.release()};
}

result<state_lock> state_lock::adopt(const state_paths& paths, int fd) {
  struct stat given {};
  struct stat there {};
  if (::fstat(fd, &given) != 0 || ::stat(paths.lock().c_str(), &there) != 0
      || given.st_dev != there.st_dev || given.st_ino != there.st_ino)
    return make_error(errc::bad_argument, "descriptor " + std::to_string(fd)
                                              + " is not the lock of " + paths.root.string());
  unique_fd own{fd};
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return system_error("cannot keep the lock from children", errno);
  // Ours already when it was inherited; this proves it.
  if (lock_command(fd, F_OFD_SETLK, F_WRLCK) != 0) return held_by(pid_in(fd), paths);
  if (auto done = write_pid(fd, paths); !done) return done.err();
  return state_lock{own.release()};
}

state_lock& state_lock::operator=(state_lock&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

state_lock::~state_lock() {
  if (fd_ >= 0) ::close(fd_); // the lock goes with the last descriptor of this description
}

result<std::optional<std::int64_t>> lock_holder(const state_paths& paths) {
  using answer = std::optional<std::int64_t>;
  unique_fd fd{::open(paths.lock().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
  if (!fd && errno == ENOENT) return answer{};
  if (!fd) return system_error("cannot open " + paths.lock().string(), errno);
  short found = F_UNLCK;
  if (lock_command(fd.get(), F_OFD_GETLK, F_WRLCK, &found) != 0)
    return system_error("cannot ask for the lock of " + paths.lock().string(), errno);
  if (found == F_UNLCK) return answer{};
  return answer{pid_in(fd.get())};
}

} // namespace skep::storage
