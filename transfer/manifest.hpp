// The list of exactly what is transferred, and its digest, computed on both sides.
//
// Canonical text of a manifest; its SHA-256 is the manifest's digest:
//   "skep-manifest 1\n"
//   per file, sorted by path bytes:
//   "f 644 SIZE SHA256 PATHLEN PATH\n"     regular file, mode 644 or 755
//   "l 644 SIZE SHA256 PATHLEN PATH\n"     symlink; size and hash are those of its target text
// SIZE and PATHLEN are decimal byte counts; PATH is raw bytes (may hold newlines).
#pragma once

#include "transfer/beneath.hpp"

#include <vector>

namespace skep::transfer {

/// One file or symlink of a tree.
struct file_entry {
  enum class kind : std::uint8_t { file, symlink };
  std::string path; ///< Relative, '/'-separated, raw bytes.
  kind type = kind::file;
  unsigned mode = 0644;   ///< 0644 or 0755, by the owner's execute bit.
  std::uint64_t size = 0; ///< Bytes; of the target text for symlinks.
  std::string sha256;     ///< Hex; of the target text for symlinks.
  friend bool operator==(const file_entry&, const file_entry&) = default;
};

/// What a tree holds.
struct manifest {
  std::vector<file_entry> files; ///< Sorted by path bytes.
  std::uint64_t total_bytes = 0;
  /// Hex digest of the canonical text.
  std::string sha256() const;
  /// Sorts and sums up.
  void finish();
};

/// What of a file changes when somebody writes to it or puts another one in its place.
struct file_stamp {
  std::uint64_t device = 0, inode = 0, size = 0;
  unsigned mode = 0;
  std::int64_t mtime_ns = 0, ctime_ns = 0;
  friend bool operator==(const file_stamp&, const file_stamp&) = default;
};

file_stamp stamp_from(const struct stat& st);
/// The stamp of an open file, or of a symlink opened with O_PATH. errc::io.
result<file_stamp> stamp_of(int fd);

/// A file opened for reading together with its facts; `entry.sha256` is filled for symlinks only.
struct opened_entry {
  file_entry entry;
  unique_fd file;          ///< -1 for symlinks.
  std::string link_target; ///< Of symlinks.
  std::int64_t mtime_s = 0;
  file_stamp stamp; ///< Taken before anything was read.
};

/// Opens `path` beneath `root` without following symlinks. errc::file_not_found when it vanished,
/// errc::bad_argument for what is neither regular file nor symlink.
result<opened_entry> open_entry(tree_reader& tree, std::string path);
result<opened_entry> open_entry(int root, std::string path);

/// Describes the named files of `dir` as they are on disk.
result<manifest> manifest_of(const std::string& dir, const std::vector<std::string>& paths);
/// Describes every file below `dir` but a `.git` directly in it. Anything that is neither regular
/// file, directory nor symlink is errc::bad_argument.
result<manifest> manifest_of(const std::string& dir);

} // namespace skep::transfer
