// Unpacks an archive that may be hostile into a directory, confined to it.
#pragma once

#include "transfer/manifest.hpp"

#include <set>

namespace skep::transfer {

/// A symlink that was not made, because it leads out of its tree.
struct left_out_link {
  std::string path, target;
};

/// What an archive may cost. Every breach is errc::unsafe_archive.
struct unpack_limits {
  std::uint64_t max_files = 1'000'000;
  std::uint64_t max_bytes = 16ull << 30; ///< Sum of all contents.
  std::uint64_t max_ratio = 200;         ///< Unpacked to packed, beyond 64 MiB unpacked.
  bool outward_links =
      false; ///< Allow symlinks whose target lies outside (they are never followed).
  /// Where symlinks out of the tree are named instead of being refused; they are not made, and not
  /// in the manifest. Null: they are refused.
  std::vector<left_out_link>* left_out = nullptr;
  /// Only these paths are unpacked; the manifest is of them. All others are read over.
  const std::set<std::string>* only = nullptr;
};

/// Unpacks a tar (plain, zstd or gzip) beneath `dest`, which is made when missing. Refused with
/// errc::unsafe_archive: absolute paths, "..", anything in a folder ".git", hard links, devices,
/// fifos, setuid, setgid and sticky bits, symlinks out of the tree (see limits), anything through a
/// symlink. A file that exists already (or comes twice) is errc::exists: nothing is ever
/// overwritten. Modes become 0644 or 0755. The manifest is computed from the bytes written. On
/// error what was written stays for inspection.
result<manifest> unpack_archive(const std::string& archive_path, const std::string& dest,
                                const unpack_limits& limits = {});
/// The same for an archive that lies in parts: their bytes one after another. At least one.
result<manifest> unpack_archive(const std::vector<std::string>& parts, const std::string& dest,
                                const unpack_limits& limits = {});

} // namespace skep::transfer
