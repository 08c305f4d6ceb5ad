// `skep-guest base` and `worktree`: the repository inside a sandbox.
#pragma once

#include "messages/json.hpp"

#include <string>
#include <vector>

namespace skep::guest {

struct base_options {
  std::string repo;                   ///< The unpacked tree.
  std::string head;                   ///< The user's HEAD when the work tree was clean; else empty.
  std::vector<std::string> head_pack; ///< Pack of exactly that commit's objects, in parts.
};

/// Makes `repo` a git repository whose branch skep/base is a commit of exactly what lies there:
/// ignored files too, bytes as they are (no filter, no line-end conversion, now or later). With
/// `head` that commit is the user's own, provided its tree is what lies there. Called again, it
/// answers the same.
/// {"commit":HEX,"is_head":BOOL}
result<json> make_base(const base_options& options);

/// After a setup in the tree: what it changed and git does not ignore becomes the newest commit of
/// skep/base, on which the repository stands again. Called again, it answers the same.
/// {"commit":HEX,"changed":BOOL}
result<json> settle_base(const std::string& repo);

struct worktree_options {
  std::string repo;
  std::string name; ///< Of the pane; the branch is skep/NAME.
  std::string dest; ///< Made by git; its parents must exist.
  std::string base; ///< Commit.
  /// What lies in `repo` and git ignores is copied: dependencies that a setup installed. All that
  /// was uploaded is in the base.
  bool copy_ignored = false;
};

/// A work tree of its own for a pane, on a branch of its own, at `base`. The identity of commits
/// comes from SKEP_GIT_NAME and SKEP_GIT_EMAIL, else "skep agent". Calls for one repository wait
/// for each other; called again for a work tree that exists it answers the same and changes nothing
/// in it. exists for a work tree of somebody else, and for a branch with work whose tree is gone.
/// {"branch":"skep/NAME","path":DEST,"commit":HEX}
result<json> add_worktree(const worktree_options& options);

} // namespace skep::guest
