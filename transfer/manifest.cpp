#include "transfer/manifest.hpp"

#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

result<std::string> read_link(int fd, const std::string& path) {
  std::string target(4097, '\0');
  auto n = ::readlinkat(fd, "", target.data(), target.size());
  if (n < 0) return io_error(path, errno);
  target.resize(static_cast<std::size_t>(n));
  return target;
}

result<void> hash_content(opened_entry& opened, std::string& buffer) {
  sha256 hash;
  std::uint64_t size = 0;
  for (;;) {
    auto n = ::read(opened.file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(opened.entry.path, errno);
    if (n == 0) break;
    size += static_cast<std::uint64_t>(n);
    hash.update({buffer.data(), static_cast<std::size_t>(n)});
  }
  opened.entry.size = size;
  opened.entry.sha256 = hash.hex();
  return {};
}

/// Collects the paths below `fd`; `prefix` is "" or ends in '/'.
result<void> walk(unique_fd fd, const std::string& prefix, std::vector<std::string>& out) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir{::fdopendir(fd.get()), ::closedir};
  if (!dir) return io_error(prefix, errno);
  int at = fd.release(); // the DIR owns it now
  errno = 0;
  while (auto* e = ::readdir(dir.get())) {
    std::string_view name{e->d_name};
    if (name == "." || name == ".." || (prefix.empty() && name == ".git")) continue;
    auto path = prefix + e->d_name;
    struct stat st {};
    if (::fstatat(at, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) return io_error(path, errno);
    if (S_ISDIR(st.st_mode)) {
      unique_fd sub{::openat(at, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
      if (!sub) return io_error(path, errno);
      auto done = walk(std::move(sub), path + "/", out);
      if (!done) return done;
    } else {
      out.push_back(std::move(path));
    }
    errno = 0;
  }
  if (errno != 0) return io_error(prefix, errno);
  return {};
}

} // namespace

std::string manifest::sha256() const {
  transfer::sha256 hash;
  hash.update("skep-manifest 1\n");
  for (const auto& f : files) {
    std::string line = f.type == file_entry::kind::file ? "f " : "l ";
    line += f.mode == 0755 ? "755 " : "644 ";
    line += std::to_string(f.size) + ' ' + f.sha256 + ' ' + std::to_string(f.path.size()) + ' '
            + f.path + '\n';
    hash.update(line);
  }
  return hash.hex();
}

void manifest::finish() {
  auto by_path = [](const auto& a, const auto& b) { return a.path < b.path; };
  // Mostly they are: a look at each is a tenth of sorting.
  if (!std::is_sorted(files.begin(), files.end(), by_path))
    std::sort(files.begin(), files.end(), by_path);
  total_bytes = 0;
  for (const auto& f : files)
    total_bytes += f.size;
}

file_stamp stamp_from(const struct stat& st) {
  auto ns = [](const timespec& t) { return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec; };
  return {static_cast<std::uint64_t>(st.st_dev),
          static_cast<std::uint64_t>(st.st_ino),
          static_cast<std::uint64_t>(st.st_size),
          st.st_mode,
          ns(st.st_mtim),
          ns(st.st_ctim)};
}

result<file_stamp> stamp_of(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return io_error("a file's facts", errno);
  return stamp_from(st);
}

result<opened_entry> open_entry(tree_reader& tree, std::string name) {
  if (!safe_relative(name)) return make_error(errc::bad_argument, "not a safe path: " + name);
  opened_entry out;
  out.entry.path = std::move(name);
  const auto& path = out.entry.path;
  out.file = unique_fd{tree.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)};
  int opened = errno;
  if (!out.file && opened == ELOOP) {
    unique_fd link{tree.open(path, O_PATH)};
    if (!link) return io_error(path, errno);
    auto stamp = stamp_of(link.get());
    if (!stamp) return stamp.err();
    out.stamp = *stamp;
    auto target = read_link(link.get(), path);
    if (!target) return target.err();
    out.link_target = std::move(*target);
    out.entry.type = file_entry::kind::symlink;
    out.entry.size = out.link_target.size();
    out.entry.sha256 = sha256_of(out.link_target);
    return out;
  }
  if (!out.file) {
    if (opened == ENOENT || opened == ENOTDIR) return make_error(errc::file_not_found, path);
    if (opened == ENXIO) // a socket, or a device without its driver
      return make_error(errc::bad_argument, path + " is neither a regular file nor a symlink");
    return io_error(path, opened);
  }
  struct stat st {};
  if (::fstat(out.file.get(), &st) != 0) return io_error(path, errno);
  if (!S_ISREG(st.st_mode))
    return make_error(errc::bad_argument, path + " is neither a regular file nor a symlink");
  out.entry.mode = st.st_mode & S_IXUSR ? 0755 : 0644;
  out.entry.size = static_cast<std::uint64_t>(st.st_size);
  out.mtime_s = st.st_mtime;
  out.stamp = stamp_from(st);
  return out;
}

result<opened_entry> open_entry(int root, std::string path) {
  tree_reader tree{root};
  return open_entry(tree, std::move(path));
}

result<manifest> manifest_of(const std::string& dir, const std::vector<std::string>& paths) {
  auto root = open_root(dir);
  if (!root) return root.err();
  tree_reader tree{root->get()};
  manifest out;
  std::string buffer(256 * 1024, '\0');
  for (const auto& path : paths) {
    auto opened = open_entry(tree, path);
    if (!opened) return opened.err();
    if (opened->entry.type == file_entry::kind::file) {
      auto hashed = hash_content(*opened, buffer);
      if (!hashed) return hashed.err();
    }
    out.files.push_back(std::move(opened->entry));
  }
  out.finish();
  return out;
}

result<manifest> manifest_of(const std::string& dir) {
  auto root = open_root(dir);
  if (!root) return root.err();
  std::vector<std::string> paths;
  auto walked = walk(std::move(*root), "", paths);
  if (!walked) return walked.err();
  return manifest_of(dir, paths);
}

} // namespace skep::transfer
