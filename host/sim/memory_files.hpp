// The files of one simulated sandbox, in memory.
//
// A work tree that was uploaded once is shared by all sandboxes: it is mounted, and what a sandbox
// changes below a mount lies over it. So a pane's changes are what lies over its mount, and ten
// thousand sandboxes cost one tree. Paths are absolute and normal (no "." and "..").
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::host::sim {

using content = std::shared_ptr<const std::string>;
using labels = std::vector<std::pair<std::string, std::string>>;

struct node {
  enum class kind : std::uint8_t { file, directory, symlink, removed };
  kind type = kind::file;
  unsigned mode = 0644;
  std::int64_t modified_ms = 0;
  content data; ///< Of a symlink: its target. Null for directories.
  labels metadata;
  std::uint64_t size() const { return data ? data->size() : 0; }
};

/// An uploaded work tree that never changes.
struct tree {
  std::map<std::string, node, std::less<>> files; ///< By relative path.
  std::set<std::string, std::less<>> directories; ///< "" is the root.
  std::string sha256;                             ///< Of its manifest.
  std::uint64_t total_bytes = 0;
};

/// `path` against `base` (absolute), without ".", ".." and double slashes.
std::string normal_path(std::string_view base, std::string_view path);

class memory_files {
public:
  /// nothing when there is none. Symlinks are shown, not followed.
  std::optional<node> find(const std::string& path) const;
  bool is_directory(const std::string& path) const;
  /// Names directly in a directory, sorted.
  std::vector<std::string> names_in(const std::string& path) const;
  /// Creates the parents. False when the path or a parent is in the way.
  bool write(const std::string& path, content data, unsigned mode = 0644, labels metadata = {});
  /// Appends to a file, which is made when missing.
  bool append(const std::string& path, std::string_view bytes);
  bool make_directory(const std::string& path);
  bool set_mode(const std::string& path, unsigned mode);
  /// A file, or a directory with all it holds.
  void remove(const std::string& path);
  /// Replaces a file. False: no source, or a directory is in the way.
  bool move(const std::string& from, const std::string& to);

  void mount(const std::string& path, std::shared_ptr<const tree> what);
  std::shared_ptr<const tree> mounted_at(const std::string& path) const;
  /// What lies over the mount at `path`, by relative path; removed files included.
  std::map<std::string, node> changes_below(const std::string& path) const;

private:
  bool make_parents(const std::string& path);
  const std::pair<const std::string, std::shared_ptr<const tree>>*
  mount_of(std::string_view path) const;
  std::vector<std::string> below(const std::string& path) const;

  std::map<std::string, node, std::less<>> own_{{"/", {node::kind::directory, 0755, 0, {}, {}}}};
  std::map<std::string, std::shared_ptr<const tree>> mounts_;
};

} // namespace skep::host::sim
