// Packs that are kept, so that a tree that did not change is neither read, scanned, hashed nor
// compressed again (docs/decisions/0045).
//
//   KEEP_DIR/NAME/index          NAME: a hash of the work tree's path
//   KEEP_DIR/NAME/SHA256.archive
//   KEEP_DIR/NAME/SHA256.head    the pack of HEAD, when there was one
//
// The index is a text in which paths are counted bytes; a line each:
//
//   skep-pack 1
//   key HEX: a hash of all that decides beside the files (form, rules, program)
//   began NS: wall clock, before the first file was opened
//   archive BYTES SHA256
//   head COMMIT BYTES SHA256: "-" for the last and 0 where there is no pack of HEAD
//   judged BASE64: of the watcher
//   files N, and N times
//   f|l MODE SIZE SHA256 DEVICE INODE STMODE STSIZE MTIME_NS CTIME_NS PATHLEN PATH
//   end SHA256: of everything before
//
// A kept pack is used when the paths are the same, every file has the stamp it had, and the files
// hash to what they should: the archive's, and those of files that had been touched less than two
// seconds before they were read (git calls such racily clean). Whatever is damaged, of another
// release or out of place is passed over, and everything is packed anew.
#pragma once

#include "transfer/pack.hpp"

#include <memory>

namespace skep::transfer {

inline constexpr std::uint64_t usual_keep_bytes = 2ull << 30;

/// What is kept for a work tree.
class kept_pack {
public:
  /// Looks for one that may be used, reads its index and hashes its archive. Blocks for as long as
  /// that takes, and may do so while the tree is listed; thread-safe.
  static kept_pack find(const pack_options& options, const std::string& root);
  /// True where there is an index that find() would read; costs nothing.
  static bool likely(const pack_options& options, const std::string& root);
  kept_pack(kept_pack&&) noexcept;
  ~kept_pack();

  /// Puts the kept archive at `archive_path` and fills `out` but for what git says of the tree.
  /// False when there is none, or the tree is another one; then nothing was touched. Once.
  bool reuse(const listed_tree& tree, const std::string& archive_path, packed& out);
  /// Puts the kept pack of out.head at `path`; false when there is none.
  bool reuse_head(const std::string& path, packed& out) const;

private:
  struct state;
  explicit kept_pack(std::unique_ptr<state> s);
  std::unique_ptr<state> s_; ///< None: nothing is kept.
};

/// Keeps what was packed, and removes what was kept longest ago until at most `most_bytes` are. A
/// pack that is larger than that, or whose judgement must not be kept, is not kept. errc::io,
/// disk_full: nothing of it is kept, and nothing half done is left. Files are shared (hard links)
/// where the file system can.
result<void> keep_pack(const pack_options& options, const packed& what,
                       const std::string& archive_path,
                       std::uint64_t most_bytes = usual_keep_bytes);

/// Removes what a keep_pack() that was killed left below `keep_dir`: files that no index names, and
/// packs whose index or archive is missing. For the time before anything is kept; what cannot be
/// removed stays.
void sweep_packs(const std::string& keep_dir);

} // namespace skep::transfer
