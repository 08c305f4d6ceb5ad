// Where `skep-guest diff` finds what it compares: the pane's repository, which is the agent's and
// may be anything by now, one of our own over its objects, and the sandbox's, which holds the base.
#pragma once

#include "guest/diff.hpp"
#include "guest/git.hpp"

namespace skep::guest {

struct diff_repositories {
  std::string common;      ///< The git directory of the tree's objects; empty: none that is of use.
  bool holds_base = false; ///< The tree's repository does, by itself: it is the one that it was.
  std::string excludes;    ///< A setting of git, for calls that list or take files.
  bool has_repository() const { return !common.empty(); }
};

/// Makes `own`, a git in the work tree, one with a repository of our own in the folder `scratch`
/// and with the objects of the tree's repository: no stale lock, no "assume unchanged" bit, no
/// half-done merge, and none of its attributes and filters has a say. Where the tree has no
/// repository (any more), or its disk has no room (`apart`), new objects of both stay in `scratch`.
/// `own` and `pane`, a git in the tree's repository, see the objects of the sandbox's, too.
result<diff_repositories> make_repositories(const diff_options& o, const std::string& scratch,
                                            bool apart, git& pane, git& own);

} // namespace skep::guest
