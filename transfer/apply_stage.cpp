#include "transfer/apply_stage.hpp"

#include "transfer/kept.hpp"
#include "transfer/swept_dir.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

namespace skep::transfer {
namespace {

constexpr std::string_view stage_prefix = ".skep-apply-";
// What an agent made can have a stage's name and all that is in a stage. It cannot have this:
// results and git bring no modes of folders, unpack_archive() refuses it, and no folder inherits
// it.
constexpr mode_t stage_bits = S_ISVTX | 0700;
constexpr const char* copies_only = "copies-only";
constexpr const char* list_name = "list";
constexpr std::size_t max_told = 10; // files that a message names

/// What is staged is named by a number.
bool names_staged(std::string_view name) {
  return name.find_first_not_of("0123456789") == name.npos;
}

bool is_marked(int stage) {
  struct stat mark {};
  return ::fstatat(stage, copies_only, &mark, AT_SYMLINK_NOFOLLOW) == 0;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code ignored;
  for (std::filesystem::directory_iterator i{folder, ignored}, end; !ignored && i != end;
       i.increment(ignored))
    out.push_back(i->path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> stages_in(const std::string& root) {
  auto out = names_in(root);
  std::erase_if(out, [](const auto& name) { return !is_temp_name(name, stage_prefix); });
  return out;
}

bool is_claimed(int stage) {
  struct stat facts {};
  return ::fstat(stage, &facts) == 0 && (facts.st_mode & S_ISVTX) != 0;
}

/// None for a folder that only has the name.
unique_fd open_stage(int root, const std::string& name) {
  unique_fd fd{::openat(root, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  return fd && is_claimed(fd.get()) ? std::move(fd) : unique_fd{};
}

/// The list by names in the stage; none when it is missing or cannot be read as a whole.
std::optional<std::map<std::string, staged_file>> read_list(int stage) {
  unique_fd fd{::openat(stage, list_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
  struct stat facts {};
  if (!fd || ::fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return {};
  auto text = read_file("/proc/self/fd/" + std::to_string(fd.get()));
  if (!text || !text->ends_with('\n')) return {};
  std::map<std::string, staged_file> out;
  std::istringstream lines{*text};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream in{line};
    staged_file x;
    in >> x.name >> x.brings >> x.copy.st_ino >> x.copy.st_size >> x.copy.st_mtim.tv_sec
        >> x.copy.st_mtim.tv_nsec;
    if (!in || in.get() != ' ' || !std::getline(in, x.path)) return {};
    auto name = x.name;
    out[name] = std::move(x);
  }
  return out;
}

/// What of the user's is in a stage without a mark. Without a list all that is named as staged
/// files are may be. The device is left out of the comparison: its number may be another one since
/// the machine was started anew, and names are exchanged within one file system alone.
std::vector<held_file> held_in(int stage, const std::string& path) {
  auto list = read_list(stage);
  std::vector<held_file> out;
  for (const auto& name : names_in(path)) {
    if (name == list_name || name == copies_only) continue;
    if (!list) {
      if (names_staged(name)) out.push_back({name, {}});
      continue;
    }
    auto line = list->find(name);
    if (line == list->end()) {
      out.push_back({name, {}});
      continue;
    }
    struct stat now {};
    bool known = ::fstatat(stage, name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0;
    now.st_dev = line->second.copy.st_dev;
    if (!known || !line->second.brings || !same_file(now, line->second.copy))
      out.push_back({name, line->second.path});
  }
  return out;
}

/// A stage of ours without a living writer, in which nothing of the user's is. Holds its lock from
/// here on; none for anything else. One that has neither mark nor list may be just being made.
unique_fd abandoned_stage(int root, const std::string& root_path, const std::string& name) {
  auto stage = open_stage(root, name);
  struct stat facts {};
  bool ours = stage && ::fstat(stage.get(), &facts) == 0 && facts.st_uid == ::geteuid()
              && ::flock(stage.get(), LOCK_EX | LOCK_NB) == 0
              && is_still_at(root, name, stage.get());
  if (!ours) return {};
  if (is_marked(stage.get())) return stage;
  bool empty = read_list(stage.get()) && held_in(stage.get(), root_path + "/" + name).empty();
  return empty ? std::move(stage) : unique_fd{};
}

} // namespace

std::string stage_template() {
  return temp_template(stage_prefix);
}

result<void> claim_stage(int stage) {
  if (::fchmod(stage, stage_bits) != 0) return io_error("the folder for staging", errno);
  if (!is_claimed(stage))
    return make_error(errc::io, "the work tree's file system keeps no sticky bit, by which what a "
                                "killed apply leaves is told from an agent's files; "
                                "--mode branch needs none");
  return {};
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size
         && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

result<void> mark_stage(int stage) {
  unique_fd mark{
      ::openat(stage, copies_only, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
  if (!mark && errno != EEXIST) return io_error(copies_only, errno);
  return {};
}

result<void> unmark_stage(int stage) {
  if (::unlinkat(stage, copies_only, 0) != 0) return io_error(copies_only, errno);
  return {};
}

result<void> write_stage_list(int stage, const std::vector<staged_file>& list) {
  std::string text = "# What lay in the work tree before `skep apply` wrote: NUMBER lies in this "
                     "folder, PATH is where it was.\n"
                     "# NUMBER, 1 for a path that was written, inode, size and time of what was "
                     "written, PATH\n";
  for (const auto& x : list) {
    text += x.name + (x.brings ? " 1 " : " 0 ") + std::to_string(x.copy.st_ino) + " "
            + std::to_string(x.copy.st_size) + " " + std::to_string(x.copy.st_mtim.tv_sec) + " "
            + std::to_string(x.copy.st_mtim.tv_nsec) + " " + shown_path(x.path) + "\n";
  }
  unique_fd fd{
      ::openat(stage, list_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
  if (!fd) return io_error(list_name, errno);
  if (auto written = write_all(fd.get(), text); !written) return written;
  if (::fsync(fd.get()) != 0) return io_error(list_name, errno);
  return {};
}

void remove_stage(int stage, const std::string& path) {
  // Where there is no room for the mark the list says the same, for as long as it is there.
  static_cast<void>(mark_stage(stage));
  for (const auto& name : names_in(path))
    if (name != copies_only && name != list_name) remove_tree(path + "/" + name);
  remove_tree(path + "/" + list_name);
  remove_tree(path);
}

void remove_abandoned_stages(int root, const std::string& root_path) {
  for (const auto& name : stages_in(root_path))
    if (auto held = abandoned_stage(root, root_path, name))
      remove_stage(held.get(), root_path + "/" + name);
}

result<void> refuse_unfinished(int root, const std::string& root_path) {
  for (const auto& name : stages_in(root_path)) {
    auto stage = open_stage(root, name);
    // Shared: two who look at the same time must not take one another for its writer. On a file
    // system without locks nobody can say whether the writer lives; it may not.
    if (!stage || (::flock(stage.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)) continue;
    if (is_marked(stage.get())) continue;
    auto path = root_path + "/" + name;
    if (auto held = held_in(stage.get(), path); !held.empty())
      return make_error(errc::apply_unfinished, held_text(path, held));
  }
  return {};
}

std::string held_text(const std::string& folder, std::vector<held_file> held) {
  std::sort(held.begin(), held.end(), [](const auto& a, const auto& b) {
    return std::pair{a.name.size(), a.name} < std::pair{b.name.size(), b.name}; // numbers
  });
  std::string out = folder + " holds what lay here before:";
  for (std::size_t i = 0; i < std::min(held.size(), max_told); ++i) {
    out += i == 0 ? " " : ", ";
    out += held[i].path.empty() ? shown_path(held[i].name)
                                : held[i].path + " (there as " + held[i].name + ")";
  }
  if (held.size() > max_told) out += " and " + std::to_string(held.size() - max_told) + " more";
  return out;
}

} // namespace skep::transfer
