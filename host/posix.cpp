#include "host/posix.hpp"

#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace skep::host {

void unique_fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

std::string errno_text(int code) {
  return std::generic_category().message(code);
}

error system_error(std::string what) {
  auto reason = errno_text(errno);
  return make_error(errc::io, std::move(what) + ": " + reason);
}

result<fd_pair> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return system_error("pipe");
  return fd_pair{unique_fd{fds[0]}, unique_fd{fds[1]}};
}

result<unique_fd> open_dir(int at, const std::string& path) {
  unique_fd fd{::openat(at, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return system_error("open " + path);
  return fd;
}

result<void> make_dir(int at, const std::string& name, unsigned mode) {
  if (::mkdirat(at, name.c_str(), mode) != 0 && errno != EEXIST)
    return system_error("mkdir " + name);
  return {};
}

result<std::string> read_all(int fd, std::size_t limit_bytes) {
  std::string out;
  char block[16384];
  for (;;) {
    auto n = ::read(fd, block, sizeof block);
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error("read");
    }
    if (n == 0) return out;
    if (out.size() + static_cast<std::size_t>(n) > limit_bytes)
      return make_error(errc::too_large, "more than " + std::to_string(limit_bytes) + " bytes");
    out.append(block, static_cast<std::size_t>(n));
  }
}

result<std::string> read_file(const std::string& path, std::size_t limit_bytes) {
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return system_error("open " + path);
  return read_all(fd.get(), limit_bytes);
}

result<void> write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    auto n = ::write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error("write");
    }
    data.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

result<void> write_file_atomic(const std::string& path, std::string_view data, unsigned mode) {
  auto temporary = path + ".tmp" + std::to_string(::getpid());
  // Others may write to the directory: what they put at this name (a link, say) goes, and a new
  // file alone is written to. Where they are quicker than we are, nothing is written.
  ::unlink(temporary.c_str());
  unique_fd fd{
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)};
  if (!fd) return system_error("open " + temporary);
  if (auto r = write_all(fd.get(), data); !r) {
    ::unlink(temporary.c_str());
    return r;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    auto e = system_error("rename to " + path);
    ::unlink(temporary.c_str());
    return e;
  }
  return {};
}

namespace {

error stopped(const std::string& name) {
  return make_error(errc::cancelled, "remove " + name);
}

// Moves a directory to `top` under a name that is free there (the sandbox may have made any name).
result<void> move_up(int from, const char* name, int top, std::uint64_t& moved) {
  for (;;) {
    auto target = ".gone" + std::to_string(moved++);
    if (::renameat(from, name, top, target.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
      return system_error("move " + std::string{name});
  }
}

// Empties and removes the directory `name` of `at`. Subdirectories below the first level are moved
// up into `top` under fresh names instead of being entered, so that depth costs neither stack nor
// descriptors.
result<void> empty_dir(int top, const std::string& name, std::uint64_t& moved,
                       const std::atomic<bool>* stop) {
  auto fd = ::openat(top, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && ::fchmodat(top, name.c_str(), 0700, 0) == 0)
    fd = ::openat(top, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return system_error("open " + name);
  unique_fd dir{fd};
  ::fchmod(dir.get(), 0700);
  auto* list = ::fdopendir(::fcntl(dir.get(), F_DUPFD_CLOEXEC, 0));
  if (!list) return system_error("read directory " + name);
  result<void> out;
  // A few passes: readdir may pass over entries of a directory that changes under it.
  for (int pass = 0; pass < 4; ++pass) {
    ::rewinddir(list);
    while (auto* entry = ::readdir(list)) {
      std::string_view entry_name = entry->d_name;
      if (entry_name == "." || entry_name == "..") continue;
      if (stop && *stop) {
        out = stopped(name);
        break;
      }
      if (::unlinkat(dir.get(), entry->d_name, 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) {
        out = system_error("remove " + std::string{entry_name});
        break;
      }
      // A directory that cannot be written cannot be moved (its ".." would change).
      ::fchmodat(dir.get(), entry->d_name, 0700, 0);
      if (auto r = move_up(dir.get(), entry->d_name, top, moved); !r) {
        out = r;
        break;
      }
    }
    if (!out || ::unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) break;
    if (errno != ENOTEMPTY || pass == 3) out = system_error("remove " + name);
  }
  ::closedir(list);
  return out;
}

} // namespace

result<void> remove_tree(int at, const std::string& name, const std::atomic<bool>* stop) {
  if (::unlinkat(at, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) == 0) return {};
  auto raw = ::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (raw < 0 && errno == EACCES && ::fchmodat(at, name.c_str(), 0700, 0) == 0)
    raw = ::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (raw < 0) return system_error("open " + name);
  unique_fd top{raw};
  ::fchmod(top.get(), 0700);
  // Each round lists the top level and empties what it found; what those held moves to the top
  // level.
  std::uint64_t moved = 0;
  for (;;) {
    std::vector<std::string> names;
    auto* list = ::fdopendir(::openat(top.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!list) return system_error("read directory " + name);
    while (auto* entry = ::readdir(list)) {
      std::string_view entry_name = entry->d_name;
      if (entry_name != "." && entry_name != "..") names.emplace_back(entry_name);
    }
    ::closedir(list);
    if (names.empty()) break;
    for (const auto& x : names) {
      if (stop && *stop) return stopped(name);
      if (::unlinkat(top.get(), x.c_str(), 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) return system_error("remove " + x);
      if (auto r = empty_dir(top.get(), x, moved, stop); !r) return r;
    }
  }
  if (::unlinkat(at, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return system_error("remove " + name);
  return {};
}

std::string socket_path(int dir_fd, std::string_view name) {
  return "/proc/self/fd/" + std::to_string(dir_fd) + "/" + std::string{name};
}

result<unique_fd> listen_unix(int dir_fd, std::string_view name, int backlog) {
  unique_fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!fd) return system_error("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  auto path = socket_path(dir_fd, name);
  if (path.size() >= sizeof address.sun_path) return make_error(errc::internal, "socket path");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return system_error("bind " + std::string{name});
  if (::listen(fd.get(), backlog) != 0) return system_error("listen " + std::string{name});
  return fd;
}

void set_cloexec(int fd, bool on) {
  ::fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

} // namespace skep::host
