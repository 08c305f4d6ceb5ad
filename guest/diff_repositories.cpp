#include "guest/diff_repositories.hpp"

#include "transfer/tree_diff.hpp"

#include <sys/stat.h>

namespace skep::guest {
namespace {

/// The git directory that the tree's objects are in; empty where the tree has no repository, or one
/// whose objects have other names than the base.
std::string common_dir(const git& pane, const std::string& tree, bool long_ids) {
  auto told = pane.line({"rev-parse", "--show-object-format", "--git-common-dir"});
  if (!told) return {};
  auto end = told->find('\n'); // a git of before SHA-256 repeats the word that it does not know
  if (end == told->npos || told->substr(0, end) == (long_ids ? "sha1" : "sha256")) return {};
  auto dir = told->substr(end + 1);
  return dir.starts_with('/') ? dir : tree + "/" + dir;
}

/// The git directory of the sandbox's repository; empty where it has no objects.
std::string base_dir(const std::string& repo) {
  struct stat st {};
  auto dir = repo + "/.git";
  bool there = !repo.empty() && ::stat((dir + "/objects").c_str(), &st) == 0 && S_ISDIR(st.st_mode);
  return there ? dir : std::string{};
}

/// A value for git: the folders of objects of these git directories, whatever their names.
std::string objects_of(const std::vector<std::string>& git_dirs) {
  std::string out;
  for (const auto& dir : git_dirs) {
    out += out.empty() ? "\"" : ":\"";
    for (char c : dir) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += "/objects\"";
  }
  return out;
}

/// A file that says where histories end, for both repositories: the base may be where that of what
/// was uploaded begins, and its parents are nowhere.
result<std::string> ends_of(const std::string& scratch, const std::string& a,
                            const std::string& b) {
  std::string ends;
  for (const auto* dir : {&a, &b})
    if (!dir->empty())
      if (auto text = transfer::read_file(*dir + "/shallow")) ends += *text;
  auto file = scratch + "/shallow";
  if (!ends.empty())
    if (auto written = transfer::write_file_durably(file, ends, 0600); !written)
      return written.err();
  return file;
}

} // namespace

result<diff_repositories> make_repositories(const diff_options& o, const std::string& scratch,
                                            bool apart, git& pane, git& own) {
  const bool long_ids = o.base.size() == 64;
  auto made = transfer::make_own_repository(scratch, long_ids);
  if (!made) return made.err();
  own.environment("GIT_DIR=" + *made);
  own.environment("GIT_WORK_TREE=" + o.tree);
  // Where the tree has no repository any more, one that lies around it is none of its own.
  pane.environment("GIT_CEILING_DIRECTORIES=" + o.tree.substr(0, o.tree.rfind('/')));
  diff_repositories out;
  out.common = common_dir(pane, o.tree, long_ids);
  if (out.has_repository()) {
    if (!apart) own.environment("GIT_OBJECT_DIRECTORY=" + out.common + "/objects");
    auto holds = pane.test({"cat-file", "-e", o.base + "^{commit}"});
    out.holds_base = holds && *holds;
  }
  auto base_git = base_dir(o.repo);
  std::vector<std::string> also;
  if (out.has_repository() && apart) {
    also.push_back(out.common);
    pane.environment("GIT_OBJECT_DIRECTORY=" + *made + "/objects");
  }
  if (!base_git.empty()) also.push_back(base_git);
  if (!also.empty())
    for (auto* each : {&own, &pane})
      each->environment("GIT_ALTERNATE_OBJECT_DIRECTORIES=" + objects_of(also));
  const auto& rules = out.has_repository() ? out.common : base_git;
  out.excludes =
      "core.excludesFile=" + (rules.empty() ? std::string{"/dev/null"} : rules + "/info/exclude");
  auto shallow = out.holds_base ? result<std::string>{out.common + "/shallow"}
                                : ends_of(scratch, out.common, base_git);
  if (!shallow) return shallow.err();
  own.environment("GIT_SHALLOW_FILE=" + *shallow);
  return out;
}

} // namespace skep::guest
