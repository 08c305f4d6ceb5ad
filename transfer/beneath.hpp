// Opening files strictly beneath a directory: no "..", no absolute path, no symlink on the way.
#pragma once

#include "transfer/posix.hpp"

#include <sys/types.h>

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

/// Opens the directory that holds `path`, making missing ones (0755) when `create`.
result<unique_fd> open_parent_beneath(int root, std::string_view path, bool create);

/// True when a symlink at `path` with this target stays within the tree, whatever else is a link
/// there: "..", only in front of names, and not above the root.
bool link_stays_inside(std::string_view path, std::string_view target);

/// Opens a directory for use as the root of the functions above.
result<unique_fd> open_root(const std::string& path);

} // namespace skep::transfer
