// One pass over the work tree: each file is opened without following symlinks, read once, hashed,
// shown to the watcher, and packed into a compressed pax tar (pack_stream.hpp). A tree that did not
// change since it was packed and kept is not read again (pack_keep.hpp).
#pragma once

#include "transfer/pack_stream.hpp"
#include "transfer/worktree.hpp"

namespace skep::transfer {

struct pack_options {
  archive_form form;
  unsigned workers = 0;                      ///< 0: usual_workers().
  std::chrono::milliseconds limit{300000};   ///< Whole packing; then errc::timed_out.
  const std::atomic<bool>* cancel = nullptr; ///< True: errc::cancelled soon.
  bool head_pack = true;                     ///< Make the pack of HEAD for a clean work tree.
  content_watcher* watcher = nullptr;        ///< Sees what is packed, or recalls what it saw.
  std::string keep_dir;                      ///< Where kept packs are looked for; empty: nowhere.
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

  bool reused = false; ///< The archive is one that was kept.
  // For keep_pack():
  std::string root;               ///< Top of the work tree.
  std::vector<file_stamp> stamps; ///< Of manifest.files, in their order.
  std::int64_t began_ns = 0;      ///< Wall clock, before the first file was opened.
};

/// Packs `repo` (anywhere inside the work tree) into `archive_path`. Errors as inspect_repo, and
/// errc::io, disk_full, cancelled, timed_out; no file is left behind on error. Blocks for seconds
/// on large trees; thread-safe.
result<packed> pack_worktree(const std::string& repo, const std::string& archive_path,
                             const pack_options& options = {});

} // namespace skep::transfer
