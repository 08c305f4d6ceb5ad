#include "guest/changed.hpp"

#include "guest/git.hpp"
#include "guest/room.hpp"
#include "transfer/git_output.hpp"
#include "transfer/posix.hpp"

#include <algorithm>

namespace skep::guest {
namespace {

/// An entry of `git status --porcelain -z` that a result would hold: of what is untracked, a
/// repository ("?? name/") would not be in it.
bool is_change(const std::string& entry) {
  return !entry.starts_with("?? ") || !entry.ends_with('/');
}

} // namespace

result<bool> tree_changed(const std::string& tree, const std::string& base) {
  if (!is_object_id(base)) return make_error(errc::bad_argument, "not a commit: " + base);
  git g{tree};
  auto before = g.line({"rev-parse", "--verify", "-q", base + "^{tree}"});
  if (!before) return make_error(errc::not_found, "the base commit " + base, before.err().cause);
  auto after = g.line({"rev-parse", "--verify", "-q", "HEAD^{tree}"});
  if (!after) return make_error(errc::not_found, "no commit in " + tree, after.err().cause);
  if (*after != *before) return true;

  auto scratch = transfer::temp_dir::make(scratch_place());
  if (!scratch) return scratch.err();
  g.environment("GIT_INDEX_FILE=" + scratch->path() + "/index");
  if (auto read = g.run({"read-tree", *after}); !read) return read.err();
  auto text = g.out({"status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"});
  if (!text) return text.err();
  auto entries = transfer::split_nul(*text);
  return std::any_of(entries.begin(), entries.end(), is_change);
}

} // namespace skep::guest
