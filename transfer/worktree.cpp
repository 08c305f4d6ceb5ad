#include "transfer/worktree.hpp"

#include "transfer/beneath.hpp"
#include "transfer/exclude.hpp"
#include "transfer/ignore.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
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
  std::sort(out.begin(), out.end(), by_path);
  auto same = [](const auto& a, const auto& b) { return a.path == b.path; };
  out.erase(std::unique(out.begin(), out.end(), same), out.end()); // unmerged paths come 3 times
  return out;
}

} // namespace

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
  auto top = run_program(git_program(path, {"rev-parse", "--show-toplevel"}));
  if (!top) return top.err();
  if (!top->good()) return make_error(errc::not_a_repository, path, first_line(top->err));
  repo_facts out;
  out.root = top->out;
  if (out.root.ends_with('\n')) out.root.pop_back();
  if (out.root.empty()) return make_error(errc::not_a_repository, path + " has no work tree");
  auto head = run_program(git_program(out.root, {"rev-parse", "--verify", "-q", "HEAD^{commit}"}));
  if (!head) return head.err();
  if (!head->good()) return make_error(errc::no_commit, out.root, first_line(head->err));
  out.head = first_line(head->out);
  auto branch = run_program(git_program(out.root, {"symbolic-ref", "--short", "-q", "HEAD"}));
  if (branch && branch->good()) out.branch = first_line(branch->out);
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

result<std::vector<std::string>> list_worktree(const std::string& root,
                                               std::vector<skipped_path>* skipped,
                                               const std::atomic<bool>* cancel) {
  auto skip = [&](std::string path, std::string reason) {
    if (skipped) skipped->push_back({std::move(path), std::move(reason)});
  };
  auto names = known_paths(root, cancel);
  if (!names) return names.err();
  auto own = own_excludes::read(root, cancel);
  if (!own) return own.err();
  auto dir = open_root(root);
  if (!dir) return dir.err();
  std::vector<std::string> out;
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
    unique_fd at{open_beneath(dir->get(), name, O_PATH | O_NOFOLLOW)};
    struct stat st {};
    if (!at || ::fstat(at.get(), &st) != 0) {
      // Deleted but not yet committed, or a directory above it was replaced by a file or symlink.
      auto number = errno;
      if (number == ENOENT && not_watched) skip(std::move(name), "not in this sparse checkout");
      if (number == ENOENT || number == ENOTDIR || number == ELOOP || number == EXDEV) continue;
      return io_error(name, number);
    }
    if (S_ISDIR(st.st_mode))
      skip(std::move(name), "a submodule");
    else if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
      skip(std::move(name), "neither a regular file nor a symlink");
    else
      out.push_back(std::move(name));
  }
  return out;
}

result<bool> worktree_is_head(const std::string& root, const std::vector<file_entry>& files) {
  auto status = run_for_output(git_program(
      root, {"status", "--porcelain", "-z", "--untracked-files=normal", "--no-renames"}));
  if (!status) return status.err();
  if (!status->empty()) return false;
  auto known = known_paths(root, nullptr);
  if (!known) return known.err();
  if (std::any_of(known->begin(), known->end(), [](const auto& k) { return k.not_watched(); }))
    return false;
  auto tree = run_for_output(git_program(root, {"ls-tree", "-r", "-z", "--name-only", "HEAD"}));
  if (!tree) return tree.err();
  auto names = split_nul(*tree);
  std::sort(names.begin(), names.end());
  return std::equal(names.begin(), names.end(), files.begin(), files.end(),
                    [](const std::string& a, const file_entry& b) { return a == b.path; });
}

result<bool> worktree_is_head(const std::string& root, const std::vector<std::string>& paths) {
  std::vector<file_entry> files(paths.size());
  for (std::size_t i = 0; i < paths.size(); ++i)
    files[i].path = paths[i];
  return worktree_is_head(root, files);
}

} // namespace skep::transfer
