// What of a git work tree is transferred: git's own ignore semantics, minus what is always
// excluded.
#pragma once

#include "transfer/git_output.hpp"
#include "transfer/manifest.hpp"
#include "transfer/process.hpp"

namespace skep::transfer {

/// A path of the work tree that is not transferred, and why.
/// `reason` is for people; scripts compare it with nothing.
struct skipped_path {
  std::string path;
  std::string reason;
};

/// The reason of what is neither a regular file nor a symlink: "a pipe", "a socket", "a device".
std::string special_reason(unsigned mode);

/// Facts of a repository, found without changing anything.
struct repo_facts {
  std::string root;      ///< Top of the work tree, absolute.
  std::string head;      ///< Commit, hex.
  std::string branch;    ///< Short name; empty when HEAD is detached.
  std::size_t files = 0; ///< How many files would be transferred.
};

/// Checks what a run needs before anything is made: errc::not_a_repository (also for a bare one),
/// foreign_repository (of another owner, with git's command that trusts it), no_commit (unborn
/// branch), empty_repository (nothing to transfer), program_missing (git). `path` may lie anywhere
/// in the work tree.
result<repo_facts> inspect_repo(const std::string& path);

/// The same without counting: repo_facts::files stays 0, and a tree of no files is no error.
result<repo_facts> inspect_head(const std::string& path);

/// Tracked and untracked-but-not-ignored paths that exist on disk, sorted by bytes, relative to
/// `root` (a work tree's top). Left out: always_excluded(), what .skepignore and the defaults leave
/// out (ignore.hpp), submodules and nested repositories, files that a sparse checkout does not
/// hold, and what is neither regular file nor symlink; these are appended to `skipped` when given.
/// Pipes, sockets and devices that git does not track are in neither: git never lists them.
result<std::vector<std::string>> list_worktree(const std::string& root,
                                               std::vector<skipped_path>* skipped = nullptr,
                                               const std::atomic<bool>* cancel = nullptr);

/// The same with the stamp that each path had.
struct listed_tree {
  std::vector<std::string> paths;
  std::vector<file_stamp> stamps;
};
result<listed_tree> list_with_stamps(const std::string& root,
                                     std::vector<skipped_path>* skipped = nullptr,
                                     const std::atomic<bool>* cancel = nullptr);

/// The files of HEAD, sorted, when work tree, index and HEAD are the same and there is no untracked
/// file; otherwise none. None, too, where git was told not to look at a file (assume-unchanged,
/// skip-worktree), and where HEAD is another commit than `head` by now; empty: any.
result<std::optional<std::vector<std::string>>> files_of_clean_head(const std::string& root,
                                                                    const std::string& head = {});
/// True when there are such, and `paths` (sorted) are exactly they.
result<bool> worktree_is_head(const std::string& root, const std::vector<std::string>& paths);

/// `git -C DIR ARGUMENTS` with the environment of git_environment() and 5 minutes.
program git_program(const std::string& dir, std::vector<std::string> arguments);

} // namespace skep::transfer
