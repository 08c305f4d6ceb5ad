// The host's side of what panes bring back. Everything here came out of a sandbox and is hostile
// until it was checked: archives are confined, patches are only read by `git apply` in an empty
// directory outside any repository, claims are compared with what was found.
#pragma once

#include "transfer/summary.hpp"
#include "transfer/unpack.hpp"

#include <map>

namespace skep::transfer {

/// How far a patch can be trusted to tell what the files beside it do. People read the one, and
/// taking over writes the other.
enum class patch_origin : std::uint8_t {
  claimed,   ///< Nothing here compared them: what was uploaded was not at hand.
  proven,    ///< Applied to what was uploaded, it gives exactly the files.
  made_here, ///< The one that came does not: it was made here, of what was uploaded and the files.
  without_links ///< The one that came gives them and links that were left out: made here as well.
};
std::string_view to_string(patch_origin x);

/// A pane's results on the host's disk.
struct pane_changes {
  std::string name;
  diff_summary summary;             ///< As claimed, and found to agree with patch and files.
  std::vector<std::string> touched; ///< All paths of the patch, sorted; rename sources included.
  manifest files;                   ///< What was unpacked.
  std::string patch_path;           ///< out_dir/NAME.patch
  std::string files_dir;            ///< out_dir/NAME/files
  /// Symlinks out of the tree, sorted: neither among the files nor in patch and summary. The user's
  /// own file of that path, where there is one, stays as it is.
  std::vector<left_out_link> left_out;
  patch_origin patch = patch_origin::claimed;
  std::string doubt; ///< With made_here: what the patch that came gives differently, for people.
};

/// Checks size and hash of both files against `claim`, unpacks the changed files to
/// out_dir/NAME/files (must not exist) and compares names: every claimed change is touched by the
/// patch, every unpacked file is claimed. Then the patch goes to out_dir/NAME.patch: the one that
/// came where it is proven to give the files, else one that is made here; size and hash in the
/// summary are of what lies there. Last NAME/changes.json is written, which says so (kept.hpp).
/// What it answers is on disk. An error, such as a disk that is full, leaves nothing of the pane:
/// neither patch nor record nor files, but what had been there before.
///
/// A symlink that leads out of the tree (an interpreter's in a virtual environment, say) costs a
/// pane that link and no more: see left_out. Then the patch is made here.
///
/// `upload`: the archive that the pane's tree began with; empty, or gone: nothing is proven.
/// `name` is one path component. `scratch` as below. Errors: checksum, unsafe_archive,
/// verification, exists, io, disk_full.
result<pane_changes> collect_pane(const std::string& patch_path, const std::string& tar_path,
                                  const std::string& out_dir, const std::string& name,
                                  const diff_summary& claim, const unpack_limits& limits = {},
                                  const std::string& scratch = {}, const std::string& upload = {});

/// The paths a patch touches, old and new names, sorted, each once. Paths that leave the tree are
/// errc::unsafe_archive; a patch git cannot read is errc::protocol. An empty file touches nothing.
/// `scratch`: a folder for temporary ones; empty: that of the machine, where a kill leaves them.
result<std::vector<std::string>> paths_of_patch(const std::string& patch_path,
                                                const std::string& scratch = {});

/// Lines that a patch adds and takes away, by the new path; both -1 for binary files.
struct line_counts {
  std::int64_t added = 0, deleted = 0;
};
/// Errors as paths_of_patch.
result<std::map<std::string, line_counts>> lines_of_patch(const std::string& patch_path);

struct pane_patch {
  std::string name;
  std::string patch_path;
};

/// The outcome of merging the panes of a swarm.
struct merged_patch {
  std::vector<std::string> included; ///< Panes whose patch is in, in the given order.
  /// Panes left out because they touch a path that another one touches too (a file and a directory
  /// of one name count as overlap), with those paths.
  std::map<std::string, std::vector<std::string>> conflicts;
};

/// Writes the patches of all panes that overlap with no other one to `out_path`, one after another.
/// Empty patches are in neither list. An error leaves no half of it. `scratch` as above.
result<merged_patch> merge_swarm_patch(const std::vector<pane_patch>& patches,
                                       const std::string& out_path,
                                       const std::string& scratch = {});

} // namespace skep::transfer
