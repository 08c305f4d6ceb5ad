#include "transfer/unpack.hpp"

#include "messages/crash_point.hpp"
#include "transfer/beneath.hpp"
#include "transfer/decoder.hpp"
#include "transfer/sha256.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

constexpr std::uint64_t ratio_free_bytes = 64ull << 20;

error unsafe(std::string text) {
  return make_error(errc::unsafe_archive, std::move(text));
}

/// Feeds libarchive with the decompressed stream and watches its size.
struct source {
  unique_fd file;
  std::string path; ///< Of `file`.
  std::vector<std::string> parts;
  std::size_t opened = 0; ///< How many of `parts`.
  const unpack_limits& limits;
  std::unique_ptr<decoder> decode; ///< None: the archive is not compressed.
  std::string in, out;
  std::string_view pending; ///< Of `in`.
  std::uint64_t read_bytes = 0, unpacked_bytes = 0;
  bool first = true, at_end = false;
  error trouble;

  explicit source(const unpack_limits& l) : limits(l) {}
  source(const source&) = delete;

  bool open_next() {
    path = parts[opened++];
    file = unique_fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file)
      trouble = errno == ENOENT ? make_error(errc::file_not_found, path) : io_error(path, errno);
    return !trouble;
  }

  bool fill() {
    for (;;) {
      auto n = ::read(file.get(), in.data(), in.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        trouble = io_error(path, errno);
        return false;
      }
      if (n == 0 && opened < parts.size()) {
        if (!open_next()) return false;
        continue;
      }
      at_end = n == 0;
      pending = {in.data(), static_cast<std::size_t>(n)};
      read_bytes += pending.size();
      return true;
    }
  }

  bool within_limits(std::size_t more) {
    unpacked_bytes += more;
    // Headers and padding: at most a few KiB for each file.
    auto most = limits.max_bytes + limits.max_files * 4096;
    if (unpacked_bytes > most)
      trouble = unsafe("the archive is larger than allowed");
    else if (unpacked_bytes > ratio_free_bytes && unpacked_bytes / limits.max_ratio > read_bytes)
      trouble = unsafe("the archive is compressed beyond all reason");
    return !trouble;
  }

  /// The next piece of the tar; empty at its end or with `trouble`.
  std::string_view next() {
    if (first) {
      first = false;
      if (!fill()) return {};
      auto made = decoder::of(pending);
      if (!made) {
        trouble = made.err();
        return {};
      }
      decode = std::move(*made);
    }
    for (;;) {
      if (pending.empty() && !(decode && decode->holds_more())) {
        if (at_end || !fill()) return {};
        if (at_end) {
          if (decode && decode->inside())
            trouble = make_error(errc::checksum, path + " is cut short");
          return {};
        }
      }
      if (!decode) {
        auto piece = std::exchange(pending, {});
        return within_limits(piece.size()) ? piece : std::string_view{};
      }
      auto n = decode->step(pending, out);
      if (!n) {
        trouble = n.err();
        trouble.message = path;
        return {};
      }
      if (*n == 0) continue;
      return within_limits(*n) ? std::string_view{out.data(), *n} : std::string_view{};
    }
  }

  static la_ssize_t read(::archive* a, void* self, const void** data) {
    auto* s = static_cast<source*>(self);
    auto piece = s->next();
    if (s->trouble) {
      archive_set_error(a, EIO, "cannot be read");
      return -1;
    }
    *data = piece.data();
    return static_cast<la_ssize_t>(piece.size());
  }
};

class unpacker {
public:
  unpacker(int root, const unpack_limits& limits, ::archive* tar, source& from)
      : root_(root), limits_(limits), tar_(tar), from_(from), buffer_(256 * 1024, '\0') {}

  result<void> entry(archive_entry* e, manifest& out) {
    const char* raw = archive_entry_pathname(e);
    if (!raw) return unsafe("an entry has no name");
    std::string path{raw};
    auto type = archive_entry_filetype(e);
    if (type == AE_IFDIR)
      while (path.ends_with('/') && path.size() > 1)
        path.pop_back();
    if (type == AE_IFDIR && path == ".") return {};
    if (path.starts_with("./")) path.erase(0, 2);
    if (!safe_relative(path)) return unsafe("an entry's path leaves the tree: " + path);
    if (names_git_dir(path)) return unsafe("a repository inside: " + path);
    if (archive_entry_hardlink(e)) return unsafe("a hard link: " + path);
    if (archive_entry_perm(e) & 07000) return unsafe("setuid, setgid or sticky bit: " + path);
    if (type != AE_IFREG && type != AE_IFLNK && type != AE_IFDIR)
      return unsafe("neither file, directory nor symlink: " + path);
    if (++entries_ > limits_.max_files) return unsafe("more files than allowed");
    if (limits_.only && !limits_.only->contains(path)) return {};
    if (type == AE_IFLNK && limits_.left_out)
      if (auto target = target_of(e); !target.empty() && !link_stays_inside(path, target)) {
        limits_.left_out->push_back({path, std::move(target)});
        return {};
      }
    if (auto moved = enter(path, type == AE_IFDIR); !moved) return moved;
    if (type == AE_IFDIR) return {};
    file_entry f;
    f.path = path;
    auto written = type == AE_IFLNK ? link(e, f) : file(e, f);
    if (!written) return written;
    out.files.push_back(std::move(f));
    return {};
  }

private:
  /// Opens the directory the entry goes into (for a directory: itself), kept for the next entry.
  result<void> enter(const std::string& path, bool directory) {
    auto inside = directory ? path + "/x" : path;
    auto slash = inside.rfind('/');
    auto parent = slash == inside.npos ? std::string{} : inside.substr(0, slash);
    if (parent_ && parent == parent_path_) return {};
    auto fd = open_parent_beneath(root_, inside, true);
    if (!fd) {
      if (fd.err().code == errc::disk_full) return fd.err();
      return unsafe("cannot enter the directory of " + path + ": " + fd.err().cause);
    }
    parent_ = std::move(*fd);
    parent_path_ = parent;
    return {};
  }

  static std::string leaf(const std::string& path) {
    auto slash = path.rfind('/');
    return slash == path.npos ? path : path.substr(slash + 1);
  }

  /// Empty: none that a link can have.
  static std::string target_of(archive_entry* e) {
    const char* raw = archive_entry_symlink(e);
    std::string target{raw ? raw : ""};
    return target.size() > 4096 ? std::string{} : target;
  }

  result<void> link(archive_entry* e, file_entry& f) {
    auto target = target_of(e);
    if (target.empty()) return unsafe("a symlink to nowhere: " + f.path);
    if (!limits_.outward_links && !link_stays_inside(f.path, target))
      return unsafe("a symlink that leaves the tree: " + f.path);
    crash_point(crash_kind::file, "unpack_link");
    if (::symlinkat(target.c_str(), parent_.get(), leaf(f.path).c_str()) != 0)
      return create_error(f.path);
    f.type = file_entry::kind::symlink;
    f.size = target.size();
    f.sha256 = sha256_of(target);
    return {};
  }

  result<void> file(archive_entry* e, file_entry& f) {
    f.mode = archive_entry_perm(e) & 0100 ? 0755 : 0644;
    auto claimed = archive_entry_size(e);
    if (claimed < 0 || static_cast<std::uint64_t>(claimed) > limits_.max_bytes - bytes_)
      return unsafe("more bytes than allowed: " + f.path);
    crash_point(crash_kind::file, "unpack_file");
    unique_fd fd{::openat(parent_.get(), leaf(f.path).c_str(),
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, f.mode)};
    if (!fd) return create_error(f.path);
    sha256 hash;
    for (;;) {
      auto n = archive_read_data(tar_, buffer_.data(), buffer_.size());
      if (n < 0) return from_.trouble ? from_.trouble : damaged();
      if (n == 0) break;
      std::string_view piece{buffer_.data(), static_cast<std::size_t>(n)};
      bytes_ += piece.size();
      f.size += piece.size();
      if (bytes_ > limits_.max_bytes) return unsafe("more bytes than allowed: " + f.path);
      // The holes of a sparse file are bytes that never were in the tar.
      if (bytes_ > ratio_free_bytes && bytes_ / limits_.max_ratio > from_.read_bytes)
        return unsafe("the archive is compressed beyond all reason");
      hash.update(piece);
      crash_point(crash_kind::file, "unpack_write");
      if (auto written = write_all(fd.get(), piece); !written) {
        auto e2 = written.err();
        e2.message = f.path;
        return e2;
      }
    }
    f.sha256 = hash.hex();
    timespec times[2] = {{0, UTIME_OMIT}, {archive_entry_mtime(e), 0}};
    if (::fchmod(fd.get(), f.mode) != 0) return io_error(f.path, errno);
    ::futimens(fd.get(), times); // a time that the file system cannot hold is no reason to fail
    return {};
  }

  error create_error(const std::string& path) const {
    if (errno == EEXIST) return make_error(errc::exists, path);
    return io_error(path, errno);
  }

  error damaged() const {
    const char* text = archive_error_string(tar_);
    return make_error(errc::checksum, from_.path + " is damaged", text ? text : "");
  }

  int root_;
  const unpack_limits& limits_;
  ::archive* tar_;
  source& from_;
  std::string buffer_;
  unique_fd parent_;
  std::string parent_path_;
  std::uint64_t entries_ = 0, bytes_ = 0;
};

} // namespace

result<manifest> unpack_archive(const std::string& archive_path, const std::string& dest,
                                const unpack_limits& limits) {
  return unpack_archive(std::vector<std::string>{archive_path}, dest, limits);
}

result<manifest> unpack_archive(const std::vector<std::string>& parts, const std::string& dest,
                                const unpack_limits& limits) {
  source from{limits};
  from.parts = parts;
  if (!from.open_next()) return from.trouble;
  from.in.resize(256 * 1024);
  from.out.resize(256 * 1024);
  if (::mkdir(dest.c_str(), 0755) != 0 && errno != EEXIST) return io_error(dest, errno);
  auto root = open_root(dest);
  if (!root) return root.err();
  std::unique_ptr<::archive, int (*)(::archive*)> tar{archive_read_new(), archive_read_free};
  archive_read_support_format_tar(tar.get());
  archive_read_support_format_empty(tar.get());
  auto reason = [&](errc code) -> error {
    if (from.trouble) return from.trouble;
    const char* text = archive_error_string(tar.get());
    return make_error(code, parts.front() + " is not a readable archive", text ? text : "");
  };
  if (archive_read_open(tar.get(), &from, nullptr, &source::read, nullptr) < ARCHIVE_WARN)
    return reason(errc::checksum);
  manifest out;
  unpacker unpack{root->get(), limits, tar.get(), from};
  for (;;) {
    archive_entry* e = nullptr;
    int n = archive_read_next_header(tar.get(), &e);
    if (n == ARCHIVE_EOF) break;
    if (n < ARCHIVE_WARN) return reason(errc::checksum); // warnings speak of character sets only
    if (auto done = unpack.entry(e, out); !done) return done.err();
  }
  // libarchive stops at the tar's end mark; the frame's checksum behind it counts too.
  while (!from.trouble && !from.next().empty()) {
  }
  if (from.trouble) return from.trouble;
  out.finish();
  return out;
}

} // namespace skep::transfer
