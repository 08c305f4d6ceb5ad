// A pane's changes as a branch in the user's repository. Work tree, index and HEAD are never
// touched: all is done with an index of our own and git's plumbing.
//
//   HEAD at the start ── what was not committed then ── the agent's commits   <- the branch
//                        (only when there was any)
//
// The repository's own attributes and filters apply, as they would to `git add`: line ends, LFS. An
// agent's attributes choose no filter, and no program runs in its folder (plumbing.hpp).
// What that commit holds and the swarm was never given (a submodule, what .skepignore or Skep
// itself leaves out, what a sparse checkout does not hold) stays in the branch as it is: no agent
// saw it, so results that meet it are a conflict.
#pragma once

#include "transfer/kept.hpp"
#include "transfer/plumbing.hpp"

namespace skep::transfer {

/// First source that has both halves: what is given, then SKEP_GIT_NAME and SKEP_GIT_EMAIL, then
/// user.name and user.email of the repository, then "Skep <skep@localhost>". bad_argument for
/// halves that git could not carry: control characters, "<", ">", nothing but dots and spaces.
result<git_identity> find_identity(const std::string& repo, const std::string& name,
                                   const std::string& email);

/// bad_argument for a name or address that git could not carry.
result<void> check_identity(const git_identity& who);

/// 1 to 200 characters of A-Z a-z 0-9 / _ . -, not starting with "-" or "/", and a name that git
/// takes for a branch; else bad_argument.
result<void> check_branch_name(const std::string& name);

struct branch_options {
  std::string repo;    ///< Top of the work tree whose repository gets the branch.
  std::string branch;  ///< Without refs/heads/.
  std::string message; ///< One commit with this message; empty: the agent's commits where possible.
  git_identity who;
};

struct made_branch {
  std::string branch;
  std::string base;          ///< The commit HEAD was at.
  std::string commit;        ///< The branch's tip.
  std::uint64_t commits = 0; ///< Of the agent's changes.
  bool snapshot = false;     ///< One commit more: what was not committed at the start.
  bool series = false;       ///< They are the agent's own, with its messages.
  bool was_there = false;    ///< The branch was at this commit already.
};

/// A path of a pane's results that meets what the commit holds and the swarm was never given.
struct withheld_path {
  std::string pane;
  std::string path;     ///< Of the results, below the top of the tree.
  std::string withheld; ///< Of the commit: the same path, one above it, or the first one below it.
  bool removed = false; ///< The pane has no file there any more.
};

/// All of them, pane by pane. Only reads. Errors: base_missing (the commit is not in `repo`), io.
/// Blocks while git lists the commit; thread-safe.
result<std::vector<withheld_path>> withheld_paths(const std::string& repo, const kept_base& base,
                                                  const std::vector<kept_pane>& panes);

/// For who makes branches of the results in `dir` (OUT/SWARM) and asks for requests, whose record
/// lies there, too: held until it is destroyed, by a lock (flock) on the folder. Errors:
/// apply_running, at once, while somebody else has it; file_not_found, io. Where the file system
/// has no locks for folders nobody is kept out.
result<unique_fd> hold_results(const std::string& dir);

/// Makes the branch. The same call gives the same commits: their dates are the run's start and, for
/// the agent's own, what the agent said. Errors: base_missing (the commit is not here), exists
/// (a branch of this name is elsewhere), apply_conflict (there are withheld_paths(); nothing was
/// made), results_changed, bad_argument, io.
result<made_branch> make_branch(const std::string& dir, const kept_base& base,
                                const kept_pane& pane, const branch_options& options);

} // namespace skep::transfer
