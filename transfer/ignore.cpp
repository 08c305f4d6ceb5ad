#include "transfer/ignore.hpp"

#include "transfer/beneath.hpp"
#include "transfer/worktree.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <future>
#include <set>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

constexpr std::size_t most_ignore_bytes = 4u << 20;

std::string default_lines() {
  std::string out;
  for (auto line : default_excludes())
    out.append(line) += '\n';
  return out;
}

result<std::vector<std::string>> listed(const std::string& root, std::vector<std::string> arguments,
                                        const std::atomic<bool>* cancel, std::string input = {}) {
  arguments.insert(arguments.begin(), {"ls-files", "-z"});
  auto p = git_program(root, std::move(arguments));
  p.cancel = cancel;
  p.stdin_data = std::move(input);
  auto text = run_for_output(p);
  if (!text) return text.err();
  auto out = split_nul(*text);
  std::sort(out.begin(), out.end());
  return out;
}

/// The entry of a sorted list that is `path` or a directory above it; empty for none.
std::string_view entry_above(const std::vector<std::string>& list, std::string_view path) {
  auto has = [&](std::string_view x) -> std::string_view {
    auto at = std::lower_bound(list.begin(), list.end(), x);
    return at != list.end() && *at == x ? std::string_view{*at} : std::string_view{};
  };
  for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
    if (auto e = has(path.substr(0, slash + 1)); !e.empty()) return e;
  return has(path);
}

/// Calls f(component) for each directory above `path`, until it answers true.
template <class F>
bool any_directory(std::string_view path, F f) {
  for (std::size_t at = 0;;) {
    auto slash = path.find('/', at);
    if (slash == path.npos) return false;
    if (f(path.substr(at, slash - at))) return true;
    at = slash + 1;
  }
}

/// The first default that names a directory above `path`; empty for none.
std::string_view default_directory(std::string_view path) {
  std::string_view out;
  any_directory(path, [&](std::string_view name) {
    for (auto line : default_excludes())
      if (line.substr(0, line.size() - 1) == name) return !(out = line).empty();
    return false;
  });
  return out;
}

/// A directory that is a default but for the case of letters: git's core.ignoreCase decides.
bool nearly_default(std::string_view path) {
  return any_directory(path, [](std::string_view name) {
    for (auto line : default_excludes())
      if (name.size() + 1 == line.size() && !line.starts_with(name)
          && ::strncasecmp(line.data(), name.data(), name.size()) == 0)
        return true;
    return false;
  });
}

/// Whether more than the defaults may decide: a .skepignore above a path, or the case of letters.
result<bool> needs_git(const std::string& root, const std::vector<tagged_path>& known,
                       const std::function<result<bool>()>& asked) {
  auto dir = open_root(root);
  if (!dir) return dir.err();
  tree_reader tree{dir->get()};
  auto ignore_file_in = [&](std::string_view folder) { // "" or "a/b/"
    struct stat st {};
    // Whatever is wrong with one, git says so.
    return tree.look_at(std::string{folder} + std::string{ignore_file_name}, st)
           || (errno != ENOENT && errno != ENOTDIR);
  };
  if (ignore_file_in("")) return true;
  std::string_view last; // the path before this one, whose directories were looked at
  for (const auto& k : known) {
    std::string_view path{k.path};
    auto same = std::mismatch(path.begin(), path.end(), last.begin(), last.end()).first;
    for (auto at = path.find('/', static_cast<std::size_t>(same - path.begin())); at != path.npos;
         at = path.find('/', at + 1))
      if (ignore_file_in(path.substr(0, at + 1))) return true;
    last = path;
  }
  if (std::none_of(known.begin(), known.end(),
                   [](const auto& k) { return !k.tracked() && nearly_default(k.path); }))
    return false;
  return asked();
}

/// Whether a folder of `known` has the name of a tracked file that it took the place of.
bool replaced_a_file(const std::vector<tagged_path>& known) {
  std::vector<std::string_view> tracked; // as sorted as `known`
  for (const auto& k : known)
    if (k.tracked()) tracked.push_back(k.path);
  std::string_view folder; // the one before, which was looked for
  for (const auto& k : known) {
    std::string_view path{k.path};
    auto slash = path.rfind('/');
    if (k.tracked() || slash == path.npos || path.substr(0, slash) == folder) continue;
    folder = path.substr(0, slash);
    for (auto above = folder;; above = above.substr(0, slash)) {
      if (std::binary_search(tracked.begin(), tracked.end(), above)) return true;
      slash = above.rfind('/');
      if (slash == above.npos) break;
    }
  }
  return false;
}

/// Folders, with '/', that lie in the place of tracked files.
result<std::vector<std::string>> folders_for_files(const std::string& root) {
  auto changed = listed(root, {"--modified"}, nullptr);
  if (!changed) return changed.err();
  std::vector<std::string> out;
  for (const auto& path : *changed) {
    struct stat st {};
    if (::lstat((root + "/" + path).c_str(), &st) == 0 && S_ISDIR(st.st_mode))
      out.push_back(path + "/");
  }
  std::sort(out.begin(), out.end());
  return out;
}

struct ignore_line {
  std::string source, line, pattern; ///< Empty: nothing ignores it.
};

/// Asks `git check-ignore` by which line a path is ignored.
result<ignore_line> ask_line(const std::string& root, const std::string& path) {
  auto p = git_program(root, {"check-ignore", "-v", "-z", "--no-index", "--stdin"});
  p.stdin_data = path + std::string(1, '\0');
  auto ran = run_program(p);
  if (!ran) return ran.err();
  if (ran->exit_code == 1) return ignore_line{}; // none of them
  if (!ran->good()) return make_error(errc::io, "git check-ignore", ran->err.substr(0, 200));
  auto parts = split_nul(ran->out); // source, line, pattern, path
  if (parts.size() < 3 || parts[2].starts_with('!')) return ignore_line{};
  return ignore_line{parts[0], parts[1], parts[2]};
}

/// Copies the .skepignore of `path`'s directories to a repository of their own, as .gitignore.
result<void> make_twin(const std::string& root, const std::string& path, const std::string& twin) {
  auto from = open_root(root);
  auto to = open_root(twin);
  if (!from) return from.err();
  if (!to) return to.err();
  for (std::size_t end = 0; end != path.npos; end = path.find('/', end + 1)) {
    auto dir = end == 0 ? std::string{} : path.substr(0, end) + "/";
    auto target = dir + ".gitignore";
    if (auto made = open_parent_beneath(to->get(), target, true); !made) return made.err();
    unique_fd file{open_beneath(from->get(), dir + std::string{ignore_file_name},
                                O_RDONLY | O_NOFOLLOW | O_NONBLOCK)};
    struct stat st {};
    if (!file || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    auto text = read_file("/proc/self/fd/" + std::to_string(file.get()), most_ignore_bytes);
    if (!text) return text.err();
    if (auto copied = write_file_durably(twin + "/" + target, *text, 0600); !copied) return copied;
  }
  return {};
}

} // namespace

const std::vector<std::string_view>& default_excludes() {
  static const std::vector<std::string_view> list{
      "node_modules/", "dist/", "build/",       "coverage/",      ".next/",       "__pycache__/",
      ".venv/",        "venv/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".tox/"};
  return list;
}

result<bool> ignores_case(const std::string& root) {
  auto set = run_program(git_program(root, {"config", "--type=bool", "core.ignoreCase"}));
  if (!set) return set.err();
  return set->exit_code != 1 && set->out != "false\n"; // 1: not set
}

result<own_excludes> own_excludes::read(const std::string& root,
                                        const std::vector<tagged_path>& known,
                                        const std::function<result<bool>()>& folds_case,
                                        const std::atomic<bool>* cancel) {
  auto per_directory = "--exclude-per-directory=" + std::string{ignore_file_name};
  own_excludes out;
  auto needed = needs_git(root, known, folds_case);
  if (!needed) return needed.err();
  out.asked_ = *needed;
  if (!out.asked_) return out;
  // Two walks of git, side by side.
  auto first = std::async(std::launch::async, [&] {
    return listed(root, {"--cached", "--ignored", per_directory}, cancel);
  });
  // What --exclude-from says is weaker than what a file in a directory says; --exclude is not.
  std::vector<std::string> others{"--others", "--ignored", per_directory,
                                  "--exclude-from=/dev/stdin"};
  // With --directory git passes over a folder whose name the index has as a file.
  out.each_file_ = replaced_a_file(known);
  if (!out.each_file_) others.emplace_back("--directory");
  auto untracked = listed(root, std::move(others), cancel, default_lines());
  auto tracked = first.get();
  if (!tracked) return tracked.err();
  if (!untracked) return untracked.err();
  out.tracked_ = std::move(*tracked);
  out.untracked_ = std::move(*untracked);
  return out;
}

std::string own_excludes::reason(std::string_view path, bool tracked) const {
  if (!asked_) {
    auto name = tracked ? std::string_view{} : default_directory(path);
    return name.empty() ? std::string{} : "left out by default: " + std::string{name};
  }
  auto entry = entry_above(tracked ? tracked_ : untracked_, path);
  if (entry.empty()) return {};
  for (auto line : default_excludes())
    if (!tracked && (entry == line || entry.ends_with("/" + std::string{line})))
      return "left out by default: " + std::string{line};
  auto by_file = "left out by " + std::string{ignore_file_name};
  auto usual = tracked || !each_file_ ? std::string_view{} : default_directory(path);
  return usual.empty() ? by_file : by_file + " or by default: " + std::string{usual};
}

result<std::vector<std::string>> ignored_by_git(const std::string& root) {
  auto out = listed(root, {"--others", "--ignored", "--directory", "--exclude-standard"}, nullptr);
  if (!out) return out.err();
  auto folders = folders_for_files(root);
  if (!folders) return folders.err();
  if (folders->empty()) return out;
  // With --directory git passes over one of these where all of it is ignored.
  auto each = listed(root, {"--others", "--ignored", "--exclude-standard"}, nullptr);
  if (!each) return each.err();
  std::set<std::string_view> missing;
  for (const auto& path : *each)
    if (entry_above(*out, path).empty())
      if (auto folder = entry_above(*folders, path); !folder.empty()) missing.insert(folder);
  for (auto folder : missing)
    out->emplace_back(folder);
  std::sort(out->begin(), out->end());
  return out;
}

result<std::string> line_of_git(const std::string& root, const std::string& path) {
  auto got = ask_line(root, path);
  if (!got) return got.err();
  return got->pattern.empty() ? std::string{} : got->source + ":" + got->line + ": " + got->pattern;
}

result<std::string> line_of_skep(const std::string& root, const std::string& path, bool tracked) {
  auto temp = temp_dir::make();
  if (!temp) return temp.err();
  auto twin = temp->path() + "/twin";
  auto made = run_for_output(git_program(temp->path(), {"init", "-q", "--template=", twin}));
  if (!made) return made.err();
  if (auto copied = make_twin(root, path, twin); !copied) return copied.err();
  struct stat st {};
  bool directory = ::lstat((root + "/" + path).c_str(), &st) == 0 && S_ISDIR(st.st_mode);
  if (directory && ::mkdir((twin + "/" + path).c_str(), 0700) != 0 && errno != EEXIST)
    return io_error(path, errno);
  // The twin obeys no other file than its own.
  auto config = run_for_output(git_program(twin, {"config", "core.excludesFile", "/dev/null"}));
  if (!config) return config.err();
  if (!tracked) {
    if (auto dirs = make_dirs(twin + "/.git/info"); !dirs) return dirs.err();
    auto written = write_file_durably(twin + "/.git/info/exclude", default_lines(), 0600);
    if (!written) return written.err();
  }
  auto got = ask_line(twin, path);
  if (!got) return got.err();
  if (got->pattern.empty()) return std::string{};
  constexpr std::string_view name = ".gitignore";
  if (!got->source.ends_with(name)) return "default: " + got->pattern;
  got->source.replace(got->source.size() - name.size(), name.size(), ignore_file_name);
  return got->source + ":" + got->line + ": " + got->pattern;
}

} // namespace skep::transfer
