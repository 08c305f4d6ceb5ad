// What a swarm's results rest on, kept beside them, so that they can be looked at and taken over
// at any later time, also without a daemon.
//
//   OUT/SWARM/base.json          what the run began with (below)
//   OUT/SWARM/base.manifest      every uploaded file: the canonical text of manifest.hpp
//   OUT/SWARM/base/PATH          the uploaded content of files that HEAD does not have so, and of
//                                files that panes changed (added when the swarm ends)
//   OUT/SWARM/NAME/changes.json  {"version":1,"name":"p0","summary":{...},
//                                "patch":"claimed"|"proven"|"made_here"|"without_links","files":[{"path":...,
//                                "kind":"file"|"symlink","mode":420,"size_bytes":3,"sha256":"..."}],
//                                "left_out":[{"path":...,"target":...}]}
//
//   base.json: {"version":1,"repo":"/home/u/x","head":"...","branch":"main","at_ms":1760000000000,
//               "files":12,"manifest_sha256":"...","dirty":["a"],"gone":["b"]}
//   dirty: uploaded and not so in HEAD; gone: in HEAD, and neither uploaded nor left out on
//   purpose, such as a file at whose place lies a folder, even one that is left out.
//
// A name is a JSON string when it is UTF-8, else {"base64":"..."}.
#pragma once

#include "transfer/results.hpp"
#include "transfer/worktree.hpp"

#include <set>

namespace skep::transfer {

/// What a run began with: the recorded base of all its panes.
struct kept_base {
  std::string repo;   ///< Top of the work tree, absolute.
  std::string head;   ///< Commit, hex.
  std::string branch; ///< Empty when HEAD was detached.
  std::int64_t at_ms = 0;
  std::vector<std::string> dirty, gone; ///< Sorted by bytes.
  manifest files;                       ///< Everything that was uploaded.
  /// The uploaded entry, or none.
  const file_entry* find(std::string_view path) const;
};

/// A pane's changes as they lie in OUT/SWARM.
struct kept_pane {
  std::string name;
  diff_summary summary;
  manifest files;        ///< What NAME/files holds, with hashes from the time of collecting.
  std::string files_dir; ///< OUT/SWARM/NAME/files
  std::string patch_path;
  patch_origin patch = patch_origin::claimed; ///< Also of an older release, which compared nothing.
  std::vector<left_out_link> left_out; ///< See pane_changes; none in records of older releases.
  const file_entry* find(std::string_view path) const;
  /// Paths that are there no more: deleted ones and the sources of renames.
  std::vector<std::string> removed() const;
};

/// Paths of which the work tree at `root` is not what HEAD says, as git sees them, those that git
/// was told not to look at included. Sorted.
result<std::vector<std::string>> changed_against_head(const std::string& root);

/// The facts of a run's start. `suspects` are changed_against_head() from before and after packing:
/// what changed meanwhile counts as changed. `uploaded` is what the archive holds.
result<kept_base> base_of(const repo_facts& repo, const manifest& uploaded,
                          const std::vector<skipped_path>& skipped,
                          const std::vector<std::string>& suspects);

/// Writes base.json and base.manifest into `dir` (OUT/SWARM), which is made when missing.
result<void> keep_base(const std::string& dir, const kept_base& base);
/// base_missing when there is none, results_changed when it is damaged.
result<kept_base> read_base(const std::string& dir);

/// Copies the uploaded content of `paths`, where the base has them, from the uploaded archive to
/// `dir`/base. What is there already stays.
result<void> keep_originals(const std::string& dir, const std::string& archive,
                            const std::set<std::string>& paths);

/// False for what is no plain name, and for the names that the base has in OUT/SWARM.
bool can_name_pane(const std::string& name);
/// Writes NAME/changes.json.
result<void> keep_changes(const std::string& dir, const pane_changes& changes);
/// no_results when there are none of this name, results_changed when the record is damaged,
/// bad_argument for a name that no pane can have.
result<kept_pane> read_pane(const std::string& dir, const std::string& name);
/// Names of all trees that have results in `dir`, p2 before p10.
std::vector<std::string> kept_names(const std::string& dir);

/// results_changed when NAME.patch or what NAME/files holds is not what was collected.
result<void> check_kept(const kept_pane& pane);

/// Reads the canonical text of a manifest; false when it is none.
bool parse_manifest(std::string_view text, manifest& out);
std::string manifest_text(const manifest& m);

/// `path` for people and for texts that must be UTF-8: as it is, or quoted as git does.
std::string shown_path(const std::string& path);

} // namespace skep::transfer
