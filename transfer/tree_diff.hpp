// One diff between two trees of git, in a form that `git apply` reads whatever the names are, and
// the repository of our own in which it is made: no attribute, filter or setting of whoever wrote
// the files has a say in it.
#pragma once

#include "transfer/process.hpp"

#include <functional>

namespace skep::transfer {

/// Makes an empty repository in the folder `dir`; answers its git directory. Files are taken into
/// its indexes byte by byte and shown as text or binary by their content, whatever .gitattributes
/// lie beside them. `long_ids`: SHA-256 instead of SHA-1.
result<std::string> make_own_repository(const std::string& dir, bool long_ids);

/// A prepared call of git with these arguments, in such a repository. Its index is changed below.
using git_call = std::function<program(std::vector<std::string>)>;

/// How every patch of ours is written, whatever diff.* settings there are.
const std::vector<std::string>& diff_form();

/// True when `git apply` makes the tree `to` of the tree `from` with this patch.
bool gives_tree(const git_call& git, const std::string& from, const std::string& to,
                const std::string& patch);

/// Writes the difference of two trees, which are not the same, to `path`. Renames are told where
/// `git apply` can read their names. verification: in none of its forms the patch gives the tree.
result<void> write_tree_diff(const git_call& git, const std::string& from, const std::string& to,
                             const std::string& path);

} // namespace skep::transfer
