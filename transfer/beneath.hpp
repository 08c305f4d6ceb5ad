// Opening files strictly beneath a directory: no "..", no absolute path, no symlink on the way.
#pragma once

#include "transfer/posix.hpp"

#include <sys/stat.h>
#include <sys/types.h>
#include <vector>

namespace skep::transfer {

/// True for a relative path of 1 to 4,096 bytes whose components are neither empty, ".", ".." nor
/// longer than 255 bytes, without NUL.
bool safe_relative(std::string_view path);

/// True when a component of `path` is ".git", in any case: no repository holds such a file, and git
/// obeys the configuration that it finds there, wherever somebody enters the folder above.
bool names_git_dir(std::string_view path);

/// openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; where the kernel lacks it, a walk
/// component by component with the same effect. `path` must be safe_relative (or "."). With
/// O_PATH | O_NOFOLLOW a symlink itself is opened. Returns -1 with errno.
int open_beneath(int root, std::string_view path, int flags, mode_t mode = 0);

/// Looks at files of one tree, with the same strictness. The directories above the last one stay
/// open (32 levels): in the order of their paths, each directory is opened once, and each file
/// costs one call. Not two calls at a time; `root` outlives it.
class tree_reader {
public:
  explicit tree_reader(int root) : root_(root) {}
  /// openat(2) with O_NOFOLLOW | O_CLOEXEC. Returns -1 with errno.
  int open(const std::string& path, int flags);
  /// lstat(2). Returns false with errno.
  bool look_at(const std::string& path, struct stat& out);

private:
  struct level {
    std::size_t end = 0; ///< Bytes of dir_path_ that name it.
    unique_fd fd;
  };
  /// Of the directory of `path`; -1 with errno.
  int parent_of(const std::string& path, const char*& name);
  int root_;
  std::string dir_path_; ///< Without '/' at its end.
  std::vector<level> levels_;
};

/// Opens the directory that holds `path`, making missing ones (0755) when `create`.
result<unique_fd> open_parent_beneath(int root, std::string_view path, bool create);

/// True when a symlink at `path` with this target stays within the tree, whatever else is a link
/// there: "..", only in front of names, and not above the root.
bool link_stays_inside(std::string_view path, std::string_view target);

/// Opens a directory for use as the root of the functions above.
result<unique_fd> open_root(const std::string& path);

} // namespace skep::transfer
