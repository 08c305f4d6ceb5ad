#include "transfer/tree_writer.hpp"

#include "transfer/apply_stage.hpp"
#include "transfer/beneath.hpp"
#include "transfer/kept.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

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
  if (auto clear = refuse_unfinished(out.root_.get(), root); !clear) return clear.err();
  if (auto made = out.make_stage(); !made) return made.err();
  return out;
}

// Between mkdtemp and flock nobody holds it, but without bit and mark nobody removes it either. A
// file system without locks has none for those who look either: then nothing is ever removed.
result<void> tree_writer::make_stage() {
  auto full = root_path_ + "/" + stage_template();
  if (!::mkdtemp(full.data())) return io_error(full, errno);
  stage_name_ = full.substr(root_path_.size() + 1);
  stage_ = unique_fd{
      open_beneath(root_.get(), stage_name_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (!stage_) return io_error(stage_name_, errno);
  if (auto claimed = claim_stage(stage_.get()); !claimed) return claimed;
  while (::flock(stage_.get(), LOCK_EX) != 0 && errno == EINTR) {
  }
  return mark_stage(stage_.get());
}

tree_writer::~tree_writer() {
  if (stage_ && !may_hold_) remove_stage(stage_.get(), root_path_ + "/" + stage_name_);
}

result<void> tree_writer::stage_write(const std::string& path, const file_entry& entry,
                                      const std::string& source, const seen& before) {
  step s{path, std::to_string(steps_.size()), before, {}, false, false, false};
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
  if (::fstatat(stage_.get(), s.staged.c_str(), &s.ours, AT_SYMLINK_NOFOLLOW) != 0)
    return io_error(path, errno);
  steps_.push_back(std::move(s));
  return {};
}

void tree_writer::stage_delete(const std::string& path, const seen& before) {
  steps_.push_back({path, std::to_string(steps_.size()), before, {}, true, false, false});
}

result<void> tree_writer::commit() {
  // A folder must be empty before a file takes its name, and a file gone before a folder does.
  std::stable_sort(steps_.begin(), steps_.end(),
                   [](const step& a, const step& b) { return a.remove && !b.remove; });
  if (steps_.empty()) return {};
  if (auto ready = begin_exchange(); !ready) return ready;
  for (auto& s : steps_)
    if (auto done = carry_out(s); !done) return undo(done.err());
  if (::syncfs(root_.get()) != 0) return undo(io_error(root_path_, errno));
  if (auto late = written_late(); !late.empty())
    return make_error(errc::apply_unfinished, held_text(root_path_ + "/" + stage_name_, late),
                      "all was written, and a program that had these files open wrote to what lay "
                      "there before");
  // What is in the stage now was replaced, and is on disk in its new form.
  static_cast<void>(mark_stage(stage_.get()));
  may_hold_ = false;
  steps_.clear();
  return {};
}

/// From here on the stage gets what lies in the tree, until that is not needed any more. The list
/// tells a later apply what of that is the user's, should this one be killed.
result<void> tree_writer::begin_exchange() {
  std::vector<staged_file> list;
  for (const auto& s : steps_)
    list.push_back({s.staged, s.path, !s.remove, s.ours});
  if (auto written = write_stage_list(stage_.get(), list); !written) return written;
  if (auto done = unmark_stage(stage_.get()); !done) return done;
  may_hold_ = true;
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
  s.left = !put_back(s, parent, leaf);
  return moved;
}

result<void> tree_writer::take_out(step& s, int parent, const std::string& leaf) {
  auto moved = make_error(errc::exists, shown_path(s.path));
  if (::renameat2(parent, leaf.c_str(), stage_.get(), s.staged.c_str(), RENAME_NOREPLACE) != 0)
    return errno == ENOENT ? moved : io_error(s.path, errno);
  if (still_as_seen(s)) return {};
  s.left = !put_back(s, parent, leaf);
  return moved;
}

bool tree_writer::still_as_seen(const step& s) const {
  struct stat now {};
  if (::fstatat(stage_.get(), s.staged.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) return false;
  return same_file(now, s.before.facts) && now.st_mode == s.before.facts.st_mode;
}

/// Who had a file open goes on writing into it wherever it lies now, and waiting for the disk takes
/// time. What changed since its exchange is somebody's only copy; the others go, so that a later
/// apply names these alone.
std::vector<held_file> tree_writer::written_late() const {
  std::vector<held_file> late;
  std::vector<const step*> quiet;
  for (const auto& s : steps_) {
    if (s.before.is != seen::kind::entry) continue;
    if (still_as_seen(s))
      quiet.push_back(&s);
    else
      late.push_back({s.staged, shown_path(s.path)});
  }
  if (!late.empty())
    for (const auto* s : quiet)
      ::unlinkat(stage_.get(), s->staged.c_str(), 0);
  return late;
}

void tree_writer::prune(const std::string& path) {
  auto folder = path;
  for (auto slash = folder.rfind('/'); slash != folder.npos; slash = folder.rfind('/')) {
    folder.resize(slash);
    auto parent = open_parent_beneath(root_.get(), folder, false);
    if (!parent || ::unlinkat(parent->get(), leaf_of(folder).c_str(), AT_REMOVEDIR) != 0) return;
  }
}

/// Undoes one step: what it brought goes back into the stage, what it took out to its place. False
/// where something else lies by now, which stays, or where a name cannot be changed.
bool tree_writer::put_back(const step& s, int parent, const std::string& leaf) {
  if (s.remove)
    return ::renameat2(stage_.get(), s.staged.c_str(), parent, leaf.c_str(), RENAME_NOREPLACE) == 0;
  bool replaced = s.before.is == seen::kind::entry;
  unsigned how = replaced ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  struct stat there {};
  if (::fstatat(parent, leaf.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0)
    return !replaced && errno == ENOENT; // somebody else has removed it
  if (!same_file(there, s.ours)) return false;
  if (::renameat2(parent, leaf.c_str(), stage_.get(), s.staged.c_str(), how) != 0) return false;
  struct stat got {};
  if (::fstatat(stage_.get(), s.staged.c_str(), &got, AT_SYMLINK_NOFOLLOW) == 0
      && same_file(got, s.ours))
    return true;
  // Saved between the look and the exchange. Where this fails it lies in the stage, which stays.
  ::renameat2(stage_.get(), s.staged.c_str(), parent, leaf.c_str(), how);
  return false;
}

/// `why`, when all is as before; else apply_unfinished, and the stage stays when it holds something
/// of the user's.
error tree_writer::undo(const error& why) {
  for (auto s = steps_.rbegin(); s != steps_.rend(); ++s) {
    if (!s->done) continue;
    auto parent = open_parent_beneath(root_.get(), s->path, s->remove);
    s->left = !parent || !put_back(*s, parent->get(), leaf_of(s->path));
    if (!s->left && !s->remove && s->before.is != seen::kind::entry) prune(s->path);
  }
  auto held = drop_copies();
  may_hold_ = !held.empty();
  auto left = left_text();
  if (left.empty() && held.empty()) return why;
  if (may_hold_)
    left += (left.empty() ? "" : "; ") + held_text(root_path_ + "/" + stage_name_, held);
  auto cause = std::string{info(why.code).text};
  for (const auto* more : {&why.message, &why.cause})
    if (!more->empty()) cause += ": " + *more;
  return make_error(errc::apply_unfinished, left, cause);
}

/// Removes what is ours from the stage; what is left in it.
std::vector<held_file> tree_writer::drop_copies() {
  std::vector<held_file> held;
  for (const auto& s : steps_) {
    struct stat now {};
    bool known = ::fstatat(stage_.get(), s.staged.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0;
    if (!known && errno == ENOENT) continue;
    if (known && !s.remove && same_file(now, s.ours))
      ::unlinkat(stage_.get(), s.staged.c_str(), 0);
    else
      held.push_back({s.staged, shown_path(s.path)});
  }
  return held;
}

/// The paths that were not undone, a few by name; empty when there is none.
std::string tree_writer::left_text() const {
  constexpr std::size_t max_told = 10;
  std::string out;
  std::size_t all = 0;
  for (const auto& s : steps_)
    if (s.left && ++all <= max_told) out += (all == 1 ? "" : ", ") + shown_path(s.path);
  if (all > max_told) out += " and " + std::to_string(all - max_told) + " more";
  return all == 0 ? out : "changed meanwhile and left as it is: " + out;
}

} // namespace skep::transfer
