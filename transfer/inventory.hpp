// A work tree as it would travel: its files with sizes, what is left out, and what people should
// know before they rely on it.
#pragma once

#include "transfer/worktree.hpp"

namespace skep::transfer {

struct listed_file {
  std::string path;
  std::uint64_t size_bytes = 0; ///< Of a symlink: of its target's text.
  bool symlink = false;
};

struct inventory {
  std::vector<listed_file> files; ///< Sorted by path bytes.
  std::uint64_t size_bytes = 0;
  std::vector<skipped_path> skipped;
  /// Sentences about submodules, nested repositories, Git LFS pointers, unmerged paths, tracked
  /// pipes, sockets and devices, and files that a sparse checkout does not hold.
  std::vector<std::string> remarks;
};

/// Looks at the work tree `root` (its top). Errors as list_worktree.
result<inventory> take_inventory(const std::string& root,
                                 const std::atomic<bool>* cancel = nullptr);

} // namespace skep::transfer
