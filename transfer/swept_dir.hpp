// Folders of single commands for the time that they take, of which a command that was killed leaves
// nothing for good: the next one of its kind finds what it left, and removes it.
//
// Such a folder is told from what merely has its name by three things: it is ours, its mode is 0700
// with the sticky bit (which neither results nor git can bring, and no folder inherits), and nobody
// holds its lock (flock), as whoever made it does for as long as it lives.
#pragma once

#include "transfer/posix.hpp"

#include <string>
#include <string_view>

namespace skep::transfer {

/// Beside the target of `skep download`; never uploaded (exclude.cpp).
inline constexpr std::string_view download_prefix = ".skep-download-";
/// In STATE/looks: what `skep diff` of a pane that still works fetches.
inline constexpr std::string_view look_prefix = "look-";

/// A folder made by mkdtemp(3), removed with all it holds when this ends.
class swept_dir {
public:
  /// PARENT/PREFIXXXXXXX, with a `.gitignore` by which git sees nothing in it. Removes abandoned
  /// ones of this place and prefix before. On a file system without locks or sticky bits it is made
  /// all the same, and a kill leaves it. errc::io, disk_full.
  static result<swept_dir> make(const std::string& parent, std::string_view prefix);
  swept_dir(swept_dir&& other) noexcept
      : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  swept_dir& operator=(swept_dir&&) = delete;
  ~swept_dir();
  const std::string& path() const { return path_; }

private:
  explicit swept_dir(std::string path) : path_(std::move(path)) {}
  result<void> claim();
  std::string path_;
  unique_fd lock_;
};

/// Removes what killed processes left of such folders in `parent`. Follows no link; what cannot be
/// removed stays.
void remove_abandoned(const std::string& parent, std::string_view prefix);

/// For mkdtemp(3): the prefix, and six X.
std::string temp_template(std::string_view prefix);
/// True for what mkdtemp(3) makes of that.
bool is_temp_name(std::string_view name, std::string_view prefix);
/// True when the open file `held` is what lies at `name`, beneath the open folder `root`, now.
bool is_still_at(int root, const std::string& name, int held);

} // namespace skep::transfer
