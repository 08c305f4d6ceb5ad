#include "transfer/beneath.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

constexpr std::string_view dot_git = ".git";

int openat2(int dir, const char* path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
  how.mode = flags & O_CREAT ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  int fd;
  do
    fd = static_cast<int>(::syscall(SYS_openat2, dir, path, &how, sizeof how));
  while (fd < 0 && errno == EAGAIN); // a rename raced with the lookup
  return fd;
}

/// Some sandboxes' kernels or filters have no openat2; found out once, on something harmless.
bool has_openat2() {
  static const bool has = [] {
    unique_fd fd{openat2(AT_FDCWD, ".", O_PATH | O_DIRECTORY, 0)};
    return static_cast<bool>(fd);
  }();
  return has;
}

int walk(int root, std::string_view path, int flags, mode_t mode) {
  unique_fd dir;
  for (;;) {
    auto slash = path.find('/');
    std::string part{path.substr(0, slash)};
    int at = dir ? dir.get() : root;
    if (slash == std::string_view::npos)
      return ::openat(at, part.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode);
    int next = ::openat(at, part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return -1;
    dir.reset(next);
    path.remove_prefix(slash + 1);
  }
}

} // namespace

bool safe_relative(std::string_view path) {
  if (path.empty() || path.size() > 4096 || path.find('\0') != path.npos) return false;
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    auto part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    at = end + 1;
  }
  return true;
}

bool names_git_dir(std::string_view path) {
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    auto part = path.substr(at, end - at);
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    if (std::equal(part.begin(), part.end(), dot_git.begin(), dot_git.end(),
                   [&](char a, char b) { return lower(a) == b; }))
      return true;
    at = end + 1;
  }
  return false;
}

int open_beneath(int root, std::string_view path, int flags, mode_t mode) {
  if (!has_openat2()) return walk(root, path, flags, mode);
  return openat2(root, std::string{path}.c_str(), flags, mode);
}

int tree_reader::parent_of(const std::string& path, const char*& name) {
  constexpr std::size_t most_levels = 32;
  auto slash = path.rfind('/');
  name = path.c_str() + (slash == path.npos ? 0 : slash + 1);
  if (slash == path.npos) return root_;
  auto parent = std::string_view{path}.substr(0, slash);
  auto holds = [&](const level& x) {
    return parent.size() >= x.end && (parent.size() == x.end || parent[x.end] == '/')
           && parent.substr(0, x.end) == std::string_view{dir_path_}.substr(0, x.end);
  };
  while (!levels_.empty() && !holds(levels_.back()))
    levels_.pop_back();
  if (!levels_.empty() && levels_.back().end == parent.size()) return levels_.back().fd.get();
  if (levels_.size() > most_levels) levels_.pop_back();
  auto at = levels_.empty() ? 0 : levels_.back().end;
  dir_path_ = parent;
  while (at < parent.size()) {
    auto from = at == 0 ? 0 : at + 1;
    // What is deeper is opened at once and not kept apart.
    auto end = levels_.size() < most_levels ? std::min(parent.find('/', from), parent.size())
                                            : parent.size();
    int above = levels_.empty() ? root_ : levels_.back().fd.get();
    unique_fd fd{
        open_beneath(above, parent.substr(from, end - from), O_PATH | O_DIRECTORY | O_NOFOLLOW)};
    if (!fd) return -1;
    levels_.push_back({end, std::move(fd)});
    at = end;
  }
  return levels_.back().fd.get();
}

int tree_reader::open(const std::string& path, int flags) {
  const char* name = nullptr;
  int at = parent_of(path, name);
  return at < 0 ? -1 : ::openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC);
}

bool tree_reader::look_at(const std::string& path, struct stat& out) {
  const char* name = nullptr;
  int at = parent_of(path, name);
  return at >= 0 && ::fstatat(at, name, &out, AT_SYMLINK_NOFOLLOW) == 0;
}

result<unique_fd> open_parent_beneath(int root, std::string_view path, bool create) {
  auto slash = path.rfind('/');
  auto parent = slash == path.npos ? std::string_view{"."} : path.substr(0, slash);
  constexpr int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  unique_fd fd{open_beneath(root, parent, flags)};
  if (fd) return fd;
  if (errno != ENOENT || !create) return io_error(parent, errno);
  for (std::size_t at = 0; at < parent.size();) {
    auto end = std::min(parent.find('/', at), parent.size());
    std::string part{parent.substr(at, end - at)};
    int dir = fd ? fd.get() : root;
    if (::mkdirat(dir, part.c_str(), 0755) != 0 && errno != EEXIST) return io_error(parent, errno);
    int next = ::openat(dir, part.c_str(), flags | O_CLOEXEC);
    if (next < 0) return io_error(parent, errno);
    fd.reset(next);
    at = end + 1;
  }
  return fd;
}

bool link_stays_inside(std::string_view path, std::string_view target) {
  if (target.empty() || target.front() == '/' || target.find('\0') != target.npos) return false;
  int depth = 0; // of the directory that holds the link
  bool named = false;
  for (char c : path)
    depth += c == '/';
  for (std::size_t at = 0; at <= target.size();) {
    auto end = std::min(target.find('/', at), target.size());
    auto part = target.substr(at, end - at);
    if (part == "..") {
      // Behind a name it would be the parent of what that name leads to, and a link may stand
      // there.
      if (--depth < 0 || named) return false;
    } else if (!part.empty() && part != ".") {
      named = true;
    }
    at = end + 1;
  }
  return true;
}

result<unique_fd> open_root(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) {
    if (errno == ENOENT) return make_error(errc::file_not_found, path);
    return io_error(path, errno);
  }
  return fd;
}

} // namespace skep::transfer
