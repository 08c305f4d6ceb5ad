// One pass over the work tree: each file is opened without following symlinks, read once, hashed
// and appended to a pax tar compressed with zstd.
#pragma once

#include "transfer/archive_writer.hpp"
#include "transfer/manifest.hpp"
#include "transfer/worktree.hpp"

namespace skep::transfer {

struct pack_options {
  int level = 1;                             ///< zstd; -1 to 19.
  std::chrono::milliseconds limit{300000};   ///< Whole packing; then errc::timed_out.
  const std::atomic<bool>* cancel = nullptr; ///< True: errc::cancelled soon.
  bool head_pack = true;                     ///< Make the pack of HEAD for a clean work tree.
  content_watcher* watcher = nullptr;        ///< Sees what is packed; on the caller's thread.
};

/// What was packed. The caller owns (and removes) the files.
struct packed {
  transfer::manifest manifest;
  std::uint64_t archive_bytes = 0;
  std::string archive_sha256; ///< Hex, of the archive file.
  bool clean = false;         ///< Work tree == HEAD exactly, nothing untracked or left out.
  std::string head;           ///< Commit, hex.
  std::string head_pack_path; ///< `archive_path` + ".pack" when clean, else empty.
  std::uint64_t head_pack_bytes = 0;
  std::string head_pack_sha256;
  std::vector<skipped_path> skipped; ///< Not transferred, with the reason.
};

/// Packs `repo` (anywhere inside the work tree) into `archive_path`. Errors as inspect_repo, and
/// errc::io, disk_full, cancelled, timed_out; no file is left behind on error. Blocks for seconds
/// on large trees; thread-safe.
result<packed> pack_worktree(const std::string& repo, const std::string& archive_path,
                             const pack_options& options = {});

} // namespace skep::transfer
