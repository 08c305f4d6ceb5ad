#include "guest/base.hpp"

#include "guest/git.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

using transfer::unique_fd;

// Highest precedence of all attribute sources: whatever .gitattributes says, bytes stay as they
// are.
constexpr std::string_view exact_bytes = "* -text -filter -ident !working-tree-encoding\n";
constexpr const char* base_ref = "refs/heads/skep/base";

void fixed_identity(git& g) {
  for (const char* entry : {"GIT_AUTHOR_NAME=skep", "GIT_AUTHOR_EMAIL=skep@localhost",
                            "GIT_COMMITTER_NAME=skep", "GIT_COMMITTER_EMAIL=skep@localhost"})
    g.environment(entry);
}

result<void> init(const git& g, const std::string& repo, bool long_ids) {
  std::vector<std::string> arguments{"init", "-q", "--template=", "-b", "skep/base"};
  if (long_ids) arguments.push_back("--object-format=sha256");
  if (auto done = g.run(std::move(arguments)); !done) return done;
  if (auto made = transfer::make_dirs(repo + "/.git/info"); !made) return made;
  auto written = transfer::write_file_durably(repo + "/.git/info/attributes", exact_bytes, 0644);
  if (!written) return written;
  for (auto [key, value] : {std::pair{"core.autocrlf", "false"},
                            {"core.safecrlf", "false"},
                            {"core.fileMode", "true"},
                            {"core.symlinks", "true"},
                            {"core.protectNTFS", "false"},
                            {"core.protectHFS", "false"},
                            {"gc.auto", "0"},
                            {"maintenance.auto", "false"},
                            {"user.name", "skep agent"},
                            {"user.email", "agent@skep.invalid"}})
    if (auto set = g.run({"config", key, value}); !set) return set;
  return {};
}

/// One file of the parts, without a name when there are several. Owns nothing on failure.
unique_fd opened(const std::vector<std::string>& parts, const std::string& folder) {
  if (parts.size() == 1) return unique_fd{::open(parts[0].c_str(), O_RDONLY | O_CLOEXEC)};
  unique_fd all{::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
  for (const auto& part : parts) {
    unique_fd from{::open(part.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!all || !from) return {};
    for (;;) {
      auto n = ::sendfile(all.get(), from.get(), nullptr, std::size_t{1} << 24);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return {};
      if (n == 0) break;
    }
  }
  if (::lseek(all.get(), 0, SEEK_SET) != 0) return {};
  return all;
}

/// True when HEAD could be made the base. Failure is no error: a new commit serves as well.
bool adopt_head(const git& g, const base_options& o) {
  auto pack = opened(o.head_pack, o.repo);
  if (!pack) return false;
  auto index = g.call({"index-pack", "--stdin"});
  index.stdin_fd = pack.get();
  if (!transfer::run_for_output(index)) return false;
  // Its parents are not here: the commit is where this repository's history begins.
  auto shallow = o.repo + "/.git/shallow";
  if (!transfer::write_file_durably(shallow, o.head + "\n", 0644)) return false;
  auto same = [&] {
    if (!g.run({"update-ref", base_ref, o.head}) || !g.run({"read-tree", o.head})) return false;
    auto status = g.out({"status", "--porcelain", "-z", "--ignored", "--untracked-files=all"});
    return status && status->empty();
  };
  if (same()) return true;
  static_cast<void>(g.test({"update-ref", "-d", base_ref}));
  static_cast<void>(g.test({"read-tree", "--empty"}));
  ::unlink(shallow.c_str());
  return false;
}

} // namespace

result<json> make_base(const base_options& o) {
  git g{o.repo};
  fixed_identity(g);
  auto answer = [&](const std::string& commit) {
    json out = json::object();
    out["commit"] = commit;
    out["is_head"] = !o.head.empty() && commit == o.head;
    return out;
  };
  if (!o.head.empty() && !is_object_id(o.head))
    return make_error(errc::bad_argument, "not a commit: " + o.head);
  struct stat st {};
  if (::lstat((o.repo + "/.git").c_str(), &st) == 0) {
    auto commit = g.line({"rev-parse", "--verify", "-q", std::string{base_ref} + "^{commit}"});
    if (commit) return answer(*commit);
    // Left half-made by a call that was cut off; nothing but us writes here.
    transfer::remove_tree(o.repo + "/.git");
  }
  if (auto done = init(g, o.repo, o.head.size() == 64); !done) return done.err();
  if (!o.head.empty() && !o.head_pack.empty() && adopt_head(g, o)) return answer(o.head);
  if (auto added = g.run({"add", "-A", "-f", "."}); !added) return added.err();
  auto made = g.run({"commit", "-q", "--allow-empty", "--no-verify", "-m", "What was uploaded"});
  if (!made) return made.err();
  auto commit = g.line({"rev-parse", "HEAD"});
  if (!commit) return commit.err();
  return answer(*commit);
}

result<json> settle_base(const std::string& repo) {
  git g{repo};
  fixed_identity(g);
  auto before = g.line({"rev-parse", "--verify", "-q", std::string{base_ref} + "^{commit}"});
  if (!before) return before.err();
  if (auto added = g.run({"add", "-A", "."}); !added) return added.err();
  auto same = g.test({"diff", "--cached", "--quiet", *before, "--"});
  if (!same) return same.err();
  json out = json::object();
  out["commit"] = *before;
  out["changed"] = !*same;
  if (!*same) {
    auto tree = g.line({"write-tree"});
    if (!tree) return tree.err();
    auto commit = g.line({"commit-tree", *tree, "-p", *before, "-m", "What the setup changed"});
    if (!commit) return commit.err();
    out["commit"] = *commit;
  }
  // Wherever its own git calls have led: the work trees start from here.
  for (auto& arguments : {std::vector<std::string>{"symbolic-ref", "HEAD", base_ref},
                          {"update-ref", base_ref, out["commit"].get<std::string>()}})
    if (auto done = g.run(arguments); !done) return done.err();
  return out;
}

namespace {

/// Copies what git ignores in `from` to `to`, links as links, times and modes kept.
result<void> copy_ignored(const git& g, const std::string& from, const std::string& to) {
  constexpr std::size_t at_a_time = 200; // paths on a command line
  auto list =
      g.out({"ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"});
  if (!list) return list.err();
  std::vector<std::string> paths;
  for (std::size_t at = 0; at < list->size();) {
    auto end = list->find('\0', at);
    auto path = list->substr(at, end - at);
    while (path.ends_with('/'))
      path.pop_back();
    paths.push_back("./" + path);
    at = end == std::string::npos ? list->size() : end + 1;
  }
  for (std::size_t at = 0; at < paths.size(); at += at_a_time) {
    transfer::program copy;
    copy.argv = {"cp", "-a", "--reflink=auto", "--parents", "--"};
    auto end = std::min(paths.size(), at + at_a_time);
    copy.argv.insert(copy.argv.end(), paths.begin() + static_cast<std::ptrdiff_t>(at),
                     paths.begin() + static_cast<std::ptrdiff_t>(end));
    copy.argv.push_back(to);
    copy.working_dir = from;
    copy.limit = std::chrono::minutes{4};
    if (auto done = transfer::run_for_output(copy); !done) return done.err();
  }
  return {};
}

} // namespace

result<json> add_worktree(const worktree_options& o) {
  auto branch = "skep/" + o.name;
  git g{o.repo};
  auto valid = g.test({"check-ref-format", "refs/heads/" + branch});
  if (!valid) return valid.err();
  if (!*valid || o.name == "base" || o.name.find('/') != o.name.npos)
    return make_error(errc::bad_argument, "not a name for a branch: " + o.name);
  if (!is_object_id(o.base)) return make_error(errc::bad_argument, "not a commit: " + o.base);

  // git's own lock files make parallel calls fail instead of wait.
  auto lock_path = o.repo + "/.git/skep.lock";
  unique_fd lock{::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!lock) return transfer::io_error(lock_path, errno);
  while (::flock(lock.get(), LOCK_EX) != 0)
    if (errno != EINTR) return transfer::io_error(lock_path, errno);

  for (auto [variable, key] :
       {std::pair{"SKEP_GIT_NAME", "user.name"}, {"SKEP_GIT_EMAIL", "user.email"}})
    if (const char* value = std::getenv(variable); value && *value)
      if (auto set = g.run({"config", key, value}); !set) return set.err();

  git there{o.dest};
  struct stat st {};
  bool exists = ::lstat((o.dest + "/.git").c_str(), &st) == 0;
  if (!exists) {
    // A branch without its work tree is left from a call that was cut off: then git still has the
    // entry of that tree, and the branch for taken. Only this one entry goes: `worktree prune`
    // would take those of other panes along whose `.git` is not there at this moment, and with them
    // what their agents have in the index. A folder that holds something fails both calls, and
    // stays.
    ::rmdir(o.dest.c_str());
    static_cast<void>(g.test({"worktree", "remove", o.dest}));
    // But not where somebody worked on it: -B below would take that away.
    auto tip = g.line({"rev-parse", "--verify", "-q", "refs/heads/" + branch});
    if (tip && *tip != o.base)
      return make_error(errc::exists, branch + " holds work, and its work tree is gone");
    auto add = g.call({"worktree", "add", "-q", "-f", "-B", branch, o.dest, o.base});
    // It has another git fill the tree. Ended in between it would leave a tree that is taken for a
    // whole one, or take the tree from under that git.
    add.outlives_us = true;
    if (auto added = transfer::run_for_output(add); !added) return added.err();
    if (o.copy_ignored)
      if (auto copied = copy_ignored(g, o.repo, o.dest); !copied) return copied.err();
  } else {
    auto is = there.line({"symbolic-ref", "--short", "-q", "HEAD"});
    if (!is || *is != branch) return make_error(errc::exists, o.dest + " holds something else");
  }
  auto commit = there.line({"rev-parse", "HEAD"});
  if (!commit) return commit.err();
  json out = json::object();
  out["branch"] = branch;
  out["path"] = o.dest;
  out["commit"] = *commit;
  return out;
}

} // namespace skep::guest
