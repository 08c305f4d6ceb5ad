#include "transfer/worktree.hpp"

#include "transfer/beneath.hpp"
#include "transfer/exclude.hpp"
#include "transfer/ignore.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <future>
#include <sys/stat.h>

namespace skep::transfer {
namespace {

std::string first_line(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
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
  if (out.root.empty())
    return make_error(errc::not_a_repository, path,
                      both->good() ? "it has no work tree" : first_line(both->err));
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

result<std::optional<std::vector<std::string>>> files_of_clean_head(const std::string& root) {
  auto names = std::async(std::launch::async, [&] {
    return run_for_output(git_program(root, {"ls-tree", "-r", "-z", "--name-only", "HEAD"}));
  });
  auto bits = std::async(std::launch::async, [&] {
    return run_for_output(git_program(root, {"ls-files", "-v", "-z", "--cached"}));
  });
  auto status = run_for_output(git_program(
      root, {"status", "--porcelain", "-z", "--untracked-files=normal", "--no-renames"}));
  auto tree = names.get(), known = bits.get();
  using none = std::optional<std::vector<std::string>>;
  if (!status) return status.err();
  if (!status->empty()) return none{};
  if (!known) return known.err();
  auto paths = read_tagged(*known);
  if (std::any_of(paths.begin(), paths.end(), [](const auto& k) { return k.not_watched(); }))
    return none{};
  if (!tree) return tree.err();
  auto out = split_nul(*tree);
  if (!std::is_sorted(out.begin(), out.end())) std::sort(out.begin(), out.end());
  return none{std::move(out)};
}

result<bool> worktree_is_head(const std::string& root, const std::vector<std::string>& paths) {
  auto names = files_of_clean_head(root);
  if (!names) return names.err();
  return *names && **names == paths;
}

} // namespace skep::transfer
