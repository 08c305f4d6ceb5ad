#include "transfer/tree_writer.hpp"

#include "transfer/beneath.hpp"
#include "transfer/kept.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

constexpr std::string_view stage_prefix = ".skep-apply-";
constexpr std::size_t stage_letters = 6; // as mkdtemp(3) has them
/// In a stage that holds nothing which had lain in the tree: all that is in it may go.
constexpr const char* copies_only = "copies-only";

std::string leaf_of(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == path.npos ? path : path.substr(slash + 1);
}

/// Copies `from` to `to` and gives the hash of what passed.
result<std::string> copy_hashed(int from, int to, const std::string& name) {
  std::string buffer(256 * 1024, '\0');
  sha256 hash;
  for (;;) {
    auto n = ::read(from, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(name, errno);
    if (n == 0) return hash.hex();
    std::string_view piece{buffer.data(), static_cast<std::size_t>(n)};
    hash.update(piece);
    if (auto written = write_all(to, piece); !written) return written.err();
  }
}

/// The permission bits of a file that takes the place of another one.
mode_t kept_mode(mode_t before, bool executable) {
  mode_t bits = before & 0777;
  if (static_cast<bool>(bits & 0100) == executable) return bits;
  return executable ? bits | ((bits & 0444) >> 2) : bits & ~mode_t{0111};
}

bool names_stage(std::string_view name) {
  auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.size() != stage_prefix.size() + stage_letters || !name.starts_with(stage_prefix))
    return false;
  name.remove_prefix(stage_prefix.size());
  return std::all_of(name.begin(), name.end(), letter);
}

/// True when `held` is what lies at `name` now.
bool still_there(int root, const std::string& name, int held) {
  struct stat by_name {};
  struct stat by_handle {};
  return ::fstatat(root, name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW) == 0
         && ::fstat(held, &by_handle) == 0 && by_name.st_dev == by_handle.st_dev
         && by_name.st_ino == by_handle.st_ino;
}

/// A stage of ours without a living writer, in which nothing of the user's is. Holds its lock from
/// here on; none for anything else.
unique_fd abandoned_stage(int root, const std::string& name) {
  unique_fd stage{::openat(root, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  struct stat facts {};
  struct stat mark {};
  bool ours = stage && ::fstat(stage.get(), &facts) == 0 && facts.st_uid == ::geteuid()
              && ::flock(stage.get(), LOCK_EX | LOCK_NB) == 0
              && ::fstatat(stage.get(), copies_only, &mark, AT_SYMLINK_NOFOLLOW) == 0
              && still_there(root, name, stage.get());
  return ours ? std::move(stage) : unique_fd{};
}

void remove_abandoned_stages(int root, const std::string& path) {
  std::error_code ignored;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator i{path, ignored}, end; !ignored && i != end;
       i.increment(ignored))
    if (auto name = i->path().filename().string(); names_stage(name)) names.push_back(name);
  for (const auto& name : names)
    if (auto held = abandoned_stage(root, name)) remove_tree(path + "/" + name);
}

} // namespace

result<seen> look_at(int root, const std::string& path) {
  seen out;
  unique_fd at{open_beneath(root, path, O_PATH | O_NOFOLLOW)};
  if (!at) {
    if (errno == ENOENT) return out;
    if (errno != ENOTDIR && errno != ELOOP && errno != EXDEV) return io_error(path, errno);
    out.is = seen::kind::blocked;
    return out;
  }
  if (::fstat(at.get(), &out.facts) != 0) return io_error(path, errno);
  if (S_ISDIR(out.facts.st_mode)) {
    out.is = seen::kind::directory;
    return out;
  }
  if (!S_ISREG(out.facts.st_mode) && !S_ISLNK(out.facts.st_mode)) {
    out.is = seen::kind::other;
    return out;
  }
  auto opened = open_entry(root, path);
  if (!opened) return opened.err();
  out.is = seen::kind::entry;
  out.entry = std::move(opened->entry);
  if (opened->file) {
    if (::fstat(opened->file.get(), &out.facts) != 0) return io_error(path, errno);
    unique_fd nowhere{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
    auto hash = copy_hashed(opened->file.get(), nowhere.get(), path);
    if (!hash) return hash.err();
    out.entry.sha256 = std::move(*hash);
  }
  return out;
}

result<tree_writer> tree_writer::open(const std::string& root) {
  tree_writer out;
  auto fd = open_root(root);
  if (!fd) return fd.err();
  out.root_ = std::move(*fd);
  out.root_path_ = root;
  remove_abandoned_stages(out.root_.get(), root);
  if (auto made = out.make_stage(); !made) return made.err();
  return out;
}

// Between mkdtemp and flock nobody holds it, but without its mark nobody removes it either. A file
// system without locks has none for those who look either: then nothing is ever removed.
result<void> tree_writer::make_stage() {
  auto full = root_path_ + "/" + std::string{stage_prefix} + std::string(stage_letters, 'X');
  if (!::mkdtemp(full.data())) return io_error(full, errno);
  stage_name_ = full.substr(root_path_.size() + 1);
  stage_ = unique_fd{
      open_beneath(root_.get(), stage_name_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (!stage_) return io_error(stage_name_, errno);
  while (::flock(stage_.get(), LOCK_EX) != 0 && errno == EINTR) {
  }
  if (!mark_stage()) return io_error(stage_name_, errno);
  return {};
}

bool tree_writer::mark_stage() {
  return static_cast<bool>(unique_fd{::openat(
      stage_.get(), copies_only, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)});
}

tree_writer::~tree_writer() {
  if (stage_) remove_tree(root_path_ + "/" + stage_name_);
}

result<void> tree_writer::stage_write(const std::string& path, const file_entry& entry,
                                      const std::string& source, const seen& before) {
  step s{path, std::to_string(steps_.size()), before, false, false};
  auto changed = [&] { return make_error(errc::results_changed, source); };
  if (entry.type == file_entry::kind::symlink) {
    std::string target(4097, '\0');
    auto n = ::readlink(source.c_str(), target.data(), target.size());
    if (n < 0) return errno == EINVAL ? changed() : io_error(source, errno);
    target.resize(static_cast<std::size_t>(n));
    if (sha256_of(target) != entry.sha256) return changed();
    if (::symlinkat(target.c_str(), stage_.get(), s.staged.c_str()) != 0)
      return io_error(path, errno);
  } else {
    unique_fd from{::open(source.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
    if (!from) return errno == ELOOP || errno == ENOENT ? changed() : io_error(source, errno);
    bool executable = entry.mode == 0755;
    unique_fd to{::openat(stage_.get(), s.staged.c_str(),
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                          executable ? 0777 : 0666)};
    if (!to) return io_error(path, errno);
    auto hash = copy_hashed(from.get(), to.get(), source);
    if (!hash) return hash.err();
    if (*hash != entry.sha256) return changed();
    if (before.is == seen::kind::entry && S_ISREG(before.facts.st_mode)
        && ::fchmod(to.get(), kept_mode(before.facts.st_mode, executable)) != 0)
      return io_error(path, errno);
  }
  steps_.push_back(std::move(s));
  return {};
}

void tree_writer::stage_delete(const std::string& path, const seen& before) {
  steps_.push_back({path, std::to_string(steps_.size()), before, true, false});
}

result<void> tree_writer::commit() {
  // A folder must be empty before a file takes its name, and a file gone before a folder does.
  std::stable_sort(steps_.begin(), steps_.end(),
                   [](const step& a, const step& b) { return a.remove && !b.remove; });
  // From here on the stage gets what lies in the tree, until that is not needed any more.
  if (!steps_.empty() && ::unlinkat(stage_.get(), copies_only, 0) != 0)
    return io_error(stage_name_, errno);
  for (auto& s : steps_) {
    auto done = carry_out(s);
    if (!done) {
      undo();
      return done;
    }
  }
  if (::syncfs(root_.get()) != 0) return io_error(root_path_, errno);
  if (!steps_.empty()) mark_stage();
  steps_.clear();
  return {};
}

result<void> tree_writer::carry_out(step& s) {
  auto parent = open_parent_beneath(root_.get(), s.path, !s.remove);
  if (!parent) return parent.err();
  auto leaf = leaf_of(s.path);
  auto done = s.remove ? take_out(s, parent->get(), leaf) : put_in(s, parent->get(), leaf);
  if (!done) return done;
  s.done = true;
  if (s.remove) prune(s.path);
  return {};
}

result<void> tree_writer::put_in(step& s, int parent, const std::string& leaf) {
  auto moved = make_error(errc::exists, shown_path(s.path));
  if (s.before.is != seen::kind::entry) {
    if (::renameat2(stage_.get(), s.staged.c_str(), parent, leaf.c_str(), RENAME_NOREPLACE) == 0)
      return {};
    // An empty folder whose files went just now, or one that was empty all the time.
    if (errno == EEXIST && ::unlinkat(parent, leaf.c_str(), AT_REMOVEDIR) == 0
        && ::renameat2(stage_.get(), s.staged.c_str(), parent, leaf.c_str(), RENAME_NOREPLACE) == 0)
      return {};
    if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR) return moved;
    return io_error(s.path, errno);
  }
  if (::renameat2(stage_.get(), s.staged.c_str(), parent, leaf.c_str(), RENAME_EXCHANGE) != 0)
    return errno == ENOENT ? moved : io_error(s.path, errno);
  if (still_as_seen(s)) return {};
  ::renameat2(stage_.get(), s.staged.c_str(), parent, leaf.c_str(), RENAME_EXCHANGE);
  return moved;
}

result<void> tree_writer::take_out(step& s, int parent, const std::string& leaf) {
  auto moved = make_error(errc::exists, shown_path(s.path));
  if (::renameat2(parent, leaf.c_str(), stage_.get(), s.staged.c_str(), RENAME_NOREPLACE) != 0)
    return errno == ENOENT ? moved : io_error(s.path, errno);
  if (still_as_seen(s)) return {};
  ::renameat2(stage_.get(), s.staged.c_str(), parent, leaf.c_str(), RENAME_NOREPLACE);
  return moved;
}

bool tree_writer::still_as_seen(const step& s) const {
  struct stat now {};
  if (::fstatat(stage_.get(), s.staged.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) return false;
  const auto& then = s.before.facts;
  return now.st_dev == then.st_dev && now.st_ino == then.st_ino && now.st_size == then.st_size
         && now.st_mode == then.st_mode && now.st_mtim.tv_sec == then.st_mtim.tv_sec
         && now.st_mtim.tv_nsec == then.st_mtim.tv_nsec;
}

void tree_writer::prune(const std::string& path) {
  auto folder = path;
  for (auto slash = folder.rfind('/'); slash != folder.npos; slash = folder.rfind('/')) {
    folder.resize(slash);
    auto parent = open_parent_beneath(root_.get(), folder, false);
    if (!parent || ::unlinkat(parent->get(), leaf_of(folder).c_str(), AT_REMOVEDIR) != 0) return;
  }
}

void tree_writer::undo() {
  for (auto s = steps_.rbegin(); s != steps_.rend(); ++s) {
    if (!s->done) continue;
    auto parent = open_parent_beneath(root_.get(), s->path, true);
    if (!parent) continue;
    auto leaf = leaf_of(s->path);
    if (s->remove)
      ::renameat2(stage_.get(), s->staged.c_str(), parent->get(), leaf.c_str(), RENAME_NOREPLACE);
    else if (s->before.is == seen::kind::entry)
      ::renameat2(stage_.get(), s->staged.c_str(), parent->get(), leaf.c_str(), RENAME_EXCHANGE);
    else if (::unlinkat(parent->get(), leaf.c_str(), 0) == 0)
      prune(s->path);
  }
}

} // namespace skep::transfer
