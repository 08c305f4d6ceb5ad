// What diff, download and apply print with --json. Paths are text for people: UTF-8, else quoted
// as git does.
#pragma once

#include "messages/error.hpp"

namespace skep::cli {

struct changed_path {
  std::string path;
  std::string change; ///< "modified", "added", "deleted", "renamed", "copied".
  std::string from;   ///< Of a rename and of a copy.
  std::int64_t added_lines = 0, deleted_lines = 0; ///< -1: binary.
  SKEP_FIELDS(field(1, "path", x.path), field(2, "change", x.change), field(3, "from", x.from),
              field(4, "added_lines", x.added_lines), field(5, "deleted_lines", x.deleted_lines))
};

struct pane_diff {
  std::string name;
  std::uint64_t commits = 0;
  bool squashed = false;
  std::string patch; ///< File.
  std::string files; ///< Folder.
  std::vector<changed_path> changes;
  std::vector<std::string> nested;
  /// How far the patch can be trusted: transfer::patch_origin. "claimed" was not compared.
  std::string patch_origin = {};
  SKEP_FIELDS(field(1, "name", x.name), field(2, "commits", x.commits),
              field(3, "squashed", x.squashed), field(4, "patch", x.patch),
              field(5, "files", x.files), field(6, "changes", x.changes),
              field(7, "nested", x.nested), field(8, "patch_origin", x.patch_origin))
};

/// With --json the report of a scan is beside it, as `scan`, where `live`.
struct diff_answer {
  std::string folder;
  std::vector<pane_diff> panes;
  bool live = false; ///< Of a pane that still works, as it was now; then there are no files of it.
  SKEP_FIELDS(field(1, "folder", x.folder), field(2, "panes", x.panes), field(3, "live", x.live))
};

struct download_answer {
  std::string folder;
  std::vector<std::string> panes;
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  SKEP_FIELDS(field(1, "folder", x.folder), field(2, "panes", x.panes), field(3, "files", x.files),
              field(4, "size_bytes", x.size_bytes))
};

struct applied_path {
  std::string pane, path;
  std::string became; ///< "written", "merged", "deleted", "unchanged", "conflict".
  std::string copy;   ///< Of a conflict: where the pane's version lies; of a deletion none.
  std::string reason;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "path", x.path), field(3, "became", x.became),
              field(4, "copy", x.copy), field(5, "reason", x.reason))
};

struct applied_branch {
  std::string pane, branch;
  std::string base, commit; ///< Empty when there is no branch because of `problem`.
  std::uint64_t commits = 0;
  bool snapshot = false; ///< One commit more: what was not committed when the swarm began.
  bool agents_commits = false;
  bool was_there = false;
  std::string remote;             ///< Where it was pushed.
  std::string request;            ///< What the forge command answered.
  bool request_was_there = false; ///< An earlier call got that answer; nobody was asked again.
  error problem;                  ///< What stopped this pane; those behind it went on.
  bool requested = false;         ///< A forge command was run for it, now or by an earlier call.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "branch", x.branch), field(3, "base", x.base),
              field(4, "commit", x.commit), field(5, "commits", x.commits),
              field(6, "snapshot", x.snapshot), field(7, "agents_commits", x.agents_commits),
              field(8, "was_there", x.was_there), field(9, "remote", x.remote),
              field(10, "request", x.request), field(11, "request_was_there", x.request_was_there),
              field(12, "error", x.problem), field(13, "requested", x.requested))
};

struct apply_answer {
  std::string folder, repo, mode;
  bool only_checked = false;
  std::uint64_t conflicts = 0;
  std::vector<applied_path> paths;
  std::vector<applied_branch> branches;
  std::vector<std::string> empty; ///< Panes that changed nothing.
  SKEP_FIELDS(field(1, "folder", x.folder), field(2, "repo", x.repo), field(3, "mode", x.mode),
              field(4, "only_checked", x.only_checked), field(5, "conflicts", x.conflicts),
              field(6, "paths", x.paths), field(7, "branches", x.branches),
              field(8, "empty", x.empty))
  /// Of the first pane that something stopped; none when all went well.
  error first_problem() const {
    for (const auto& b : branches)
      if (b.problem) return b.problem;
    return {};
  }
};

} // namespace skep::cli
