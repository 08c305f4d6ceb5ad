// Taking results over into a work tree: `files` (never over a local change, both are kept) and
// `patch` (merged with local changes, everything or nothing).
//
// B is the recorded base of a path, L what lies there now, R what the pane made of it; each may be
// "absent". L == R: nothing to do. L == B: R is taken over. Else it was changed here meanwhile:
//   files  L stays, R is put beside it as PATH.skep-PANE, and the path is a conflict
//   patch  text files are merged as git does it (git merge-file with B); what does not merge is a
//          conflict, and then nothing at all is written
// A renamed file that was changed here under its old name is merged under its new one (patch).
//
// Order on disk: everything is copied into ROOT/.skep-apply-XXXXXX first and compared with the
// recorded hashes; then paths are exchanged one by one with renameat2(2), so that what somebody
// writes in the last moment is noticed and put back; on any failure all that was done is undone.
// Nothing is planned while the folder of an earlier apply, which was killed in the middle of that,
// may hold something of the user's (apply_stage.hpp).
#pragma once

#include "transfer/kept.hpp"

namespace skep::transfer {

enum class take_mode : std::uint8_t { files, patch };

/// What became (or would become) of one path.
struct taken_path {
  enum class what : std::uint8_t { written, merged, deleted, unchanged, conflict };
  std::string pane;
  std::string path;
  what became = what::unchanged;
  std::string copy;   ///< Of a conflict: where the pane's version lies; empty for a deletion.
  std::string reason; ///< Of a conflict.
};
std::string_view to_string(taken_path::what x);

struct take_report {
  std::vector<taken_path> paths;
  std::size_t count(taken_path::what x) const;
  bool conflicts() const { return count(taken_path::what::conflict) > 0; }
};

struct take_options {
  std::string root; ///< Top of the work tree.
  take_mode mode = take_mode::files;
  bool check_only = false; ///< Plans and reports; writes nothing.
};

/// Takes over the changes of `panes`, one after the other, so that a later one meets what an
/// earlier one brought. `dir` is OUT/SWARM. A conflict is no error: see the report. With `patch`
/// and a conflict nothing was written. Errors: results_changed, io, disk_full, apply_conflict when
/// somebody writes there all the time, apply_unfinished when an earlier apply was killed halfway or
/// this one could not be undone as a whole, or wrote all while a program wrote to a file that it
/// replaced, and whatever undid everything. Unchanged files are not touched. Blocks; one at a time
/// for a work tree.
result<take_report> take_over(const std::string& dir, const kept_base& base,
                              const std::vector<kept_pane>& panes, const take_options& options);

/// Three-way merge of text files as git does it: true and the merged file in `out`, false when it
/// does not merge (or is binary).
result<bool> merge_files(const std::string& ours, const std::string& base,
                         const std::string& theirs, const std::string& out);

} // namespace skep::transfer
