#include "transfer/worktree.hpp"

#include "transfer/beneath.hpp"
#include "transfer/exclude.hpp"
#include "transfer/ignore.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <future>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

std::string first_line(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
}

/// As a shell reads it back.
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (char c : text)
    out += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return out + "'";
}

/// As git sees it: root's are trusted by root alone, who may stand in for the user of a sudo.
bool is_trusted_owner(uid_t owner) {
  if (owner == ::geteuid()) return true;
  const char* asked_by = ::geteuid() == 0 ? std::getenv("SUDO_UID") : nullptr;
  return asked_by && std::to_string(owner) == asked_by;
}

/// Of `path` and the directories above it the first with a `.git`, where git would not trust it
/// for its owner; empty where it would, or there is none.
std::string foreign_root(const std::string& path) {
  std::error_code failed;
  auto dir = std::filesystem::canonical(path, failed);
  if (failed) return {};
  for (;; dir = dir.parent_path()) {
    struct stat inside {};
    struct stat outside {};
    if (::lstat((dir / ".git").c_str(), &inside) == 0) {
      if (::stat(dir.c_str(), &outside) != 0) return {};
      return is_trusted_owner(inside.st_uid) && is_trusted_owner(outside.st_uid) ? std::string{}
                                                                                 : dir.string();
    }
    if (dir == dir.parent_path()) return {};
  }
}

/// git ends with the same code where there is no repository and where it does not trust one.
error why_no_root(const std::string& path, const std::string& cause) {
  auto root = foreign_root(path);
  if (root.empty()) return make_error(errc::not_a_repository, path, cause);
  return make_error(errc::foreign_repository,
                    root + " (`git config --global --add safe.directory " + shell_word(root)
                        + "` trusts it)",
                    cause);
}

result<std::vector<tagged_path>> known_paths(const std::string& root,
                                             const std::atomic<bool>* cancel) {
  auto list =
      git_program(root, {"ls-files", "-v", "-z", "--cached", "--others", "--exclude-standard"});
  list.cancel = cancel;
  auto text = run_for_output(list);
  if (!text) return text.err();
  auto out = read_tagged(*text);
  auto by_path = [](const auto& a, const auto& b) { return a.path < b.path; };
  if (!std::is_sorted(out.begin(), out.end(), by_path)) std::sort(out.begin(), out.end(), by_path);
  auto same = [](const auto& a, const auto& b) { return a.path == b.path; };
  out.erase(std::unique(out.begin(), out.end(), same), out.end()); // unmerged paths come 3 times
  return out;
}

} // namespace

std::string special_reason(unsigned mode) {
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "neither a regular file nor a symlink";
}

// Not fsmonitor: it would run the repository's own program only to speed us up.
program git_program(const std::string& dir, std::vector<std::string> arguments) {
  program p;
  p.argv = {"git", "-C", dir, "-c", "core.fsmonitor=false"};
  p.argv.insert(p.argv.end(), arguments.begin(), arguments.end());
  p.environment = git_environment();
  p.limit = std::chrono::minutes{5};
  return p;
}

result<repo_facts> inspect_head(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
    return make_error(errc::not_a_repository, path + " is not a directory");
  auto branch = std::async(std::launch::async, [&] {
    return run_program(git_program(path, {"symbolic-ref", "--short", "-q", "HEAD"}));
  });
  // The top is printed also where there is no commit; then the exit code says so.
  auto both = run_program(
      git_program(path, {"rev-parse", "--show-toplevel", "--verify", "-q", "HEAD^{commit}"}));
  auto named = branch.get();
  if (!both) return both.err();
  std::string_view text{both->out};
  auto last_line = [&] {
    if (text.ends_with('\n')) text.remove_suffix(1);
    auto at = text.rfind('\n');
    auto line = text.substr(at == text.npos ? 0 : at + 1);
    text.remove_suffix(text.size() - (at == text.npos ? 0 : at));
    return line;
  };
  repo_facts out;
  if (both->good()) out.head = last_line();
  if (text.ends_with('\n')) text.remove_suffix(1);
  out.root = text;
  if (out.root.empty() && both->good())
    return make_error(errc::not_a_repository, path, "it has no work tree");
  if (out.root.empty()) return why_no_root(path, first_line(both->err));
  if (!both->good()) return make_error(errc::no_commit, out.root, first_line(both->err));
  if (named && named->good()) out.branch = first_line(named->out);
  return out;
}

result<repo_facts> inspect_repo(const std::string& path) {
  auto out = inspect_head(path);
  if (!out) return out;
  auto paths = list_worktree(out->root);
  if (!paths) return paths.err();
  if (paths->empty()) return make_error(errc::empty_repository, out->root);
  out->files = paths->size();
  return out;
}

result<listed_tree> list_with_stamps(const std::string& root, std::vector<skipped_path>* skipped,
                                     const std::atomic<bool>* cancel) {
  auto skip = [&](std::string path, std::string reason) {
    if (skipped) skipped->push_back({std::move(path), std::move(reason)});
  };
  auto asked = std::async(std::launch::async, [&] { return ignores_case(root); });
  auto names = known_paths(root, cancel);
  if (!names) return names.err();
  auto own = own_excludes::read(
      root, *names, [&] { return asked.get(); }, cancel);
  if (!own) return own.err();
  auto dir = open_root(root);
  if (!dir) return dir.err();
  tree_reader tree{dir->get()};
  listed_tree out;
  out.paths.reserve(names->size());
  out.stamps.reserve(names->size());
  for (auto& known : *names) {
    auto& name = known.path;
    const bool tracked = known.tracked(), not_watched = known.not_watched();
    if (auto reason = excluded_reason(name); !reason.empty()) {
      skip(std::move(name), "always excluded: " + std::string{reason});
      continue;
    }
    if (name.ends_with('/')) {
      skip(std::move(name), "a repository of its own");
      continue;
    }
    if (auto reason = own->reason(name, tracked); !reason.empty()) {
      skip(std::move(name), std::move(reason));
      continue;
    }
    if (!safe_relative(name)) {
      skip(std::move(name), "its name is too long");
      continue;
    }
    struct stat st {};
    if (!tree.look_at(name, st)) {
      // Deleted but not yet committed, or a directory above it was replaced by a file or symlink.
      auto number = errno;
      if (number == ENOENT && not_watched) skip(std::move(name), "not in this sparse checkout");
      if (number == ENOENT || number == ENOTDIR || number == ELOOP || number == EXDEV) continue;
      return io_error(name, number);
    }
    if (S_ISDIR(st.st_mode)) {
      skip(std::move(name), "a submodule");
    } else if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
      skip(std::move(name), special_reason(st.st_mode));
    } else {
      out.paths.push_back(std::move(name));
      out.stamps.push_back(stamp_from(st));
    }
  }
  return out;
}

result<std::vector<std::string>> list_worktree(const std::string& root,
                                               std::vector<skipped_path>* skipped,
                                               const std::atomic<bool>* cancel) {
  auto list = list_with_stamps(root, skipped, cancel);
  if (!list) return list.err();
  return std::move(list->paths);
}

// Where nothing differs between the two, the files of the index are those of HEAD.
namespace {

// What `git status --porcelain=v2 --branch -z` says: lines about the branch begin with "# ", each
// other one is about a path that is not as in HEAD.
bool says_clean(std::string_view status, const std::string& head) {
  constexpr std::string_view commit = "# branch.oid ";
  bool same = head.empty();
  while (!status.empty()) {
    auto line = status.substr(0, status.find('\0'));
    status.remove_prefix(std::min(line.size() + 1, status.size()));
    if (!line.starts_with("# ")) return false;
    if (line.starts_with(commit)) same = same || line.substr(commit.size()) == head;
  }
  return same;
}

} // namespace

result<std::optional<std::vector<std::string>>> files_of_clean_head(const std::string& root,
                                                                    const std::string& head) {
  auto index = std::async(std::launch::async, [&] {
    return run_for_output(git_program(root, {"ls-files", "-v", "-z", "--cached"}));
  });
  auto status =
      run_for_output(git_program(root, {"status", "--porcelain=v2", "--branch", "--no-ahead-behind",
                                        "-z", "--untracked-files=normal", "--no-renames"}));
  auto known = index.get();
  using none = std::optional<std::vector<std::string>>;
  if (!status) return status.err();
  if (!says_clean(*status, head)) return none{};
  if (!known) return known.err();
  std::vector<std::string> out;
  for (auto& k : read_tagged(*known)) {
    if (k.not_watched()) return none{};
    out.push_back(std::move(k.path));
  }
  if (!std::is_sorted(out.begin(), out.end())) std::sort(out.begin(), out.end());
  return none{std::move(out)};
}

result<bool> worktree_is_head(const std::string& root, const std::vector<std::string>& paths) {
  auto names = files_of_clean_head(root);
  if (!names) return names.err();
  return *names && **names == paths;
}

} // namespace skep::transfer
