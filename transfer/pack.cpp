#include "transfer/pack.hpp"

#include "messages/wall_clock.hpp"
#include "transfer/beneath.hpp"
#include "transfer/pack_keep.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <future>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

/// Objects of exactly the commit `head` and its trees and blobs, without its history. HEAD itself
/// may be another one by now, with files that nobody has looked at.
result<void> make_head_pack(const std::string& root, const std::string& head,
                            const std::string& path, steady_time deadline,
                            const std::atomic<bool>* cancel) {
  auto parent = path.substr(0, path.rfind('/') == path.npos ? 0 : path.rfind('/') + 1);
  unique_fd list{
      ::open(parent.empty() ? "." : parent.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
  ::unlink(path.c_str()); // what is there may have a second name
  unique_fd out{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!list || !out) return io_error(path, errno);
  auto run = [&](std::vector<std::string> argv, int in_fd, int out_fd) -> result<void> {
    program p;
    p.argv = std::move(argv);
    p.environment = git_environment();
    p.stdin_fd = in_fd;
    p.stdout_fd = out_fd;
    p.limit = std::chrono::milliseconds{ms_until(deadline)};
    p.cancel = cancel;
    auto ran = run_for_output(p);
    if (!ran) return ran.err();
    return {};
  };
  auto listed =
      run({"git", "-C", root, "rev-list", "--objects", "--no-walk", head}, -1, list.get());
  if (!listed) return listed;
  if (::lseek(list.get(), 0, SEEK_SET) != 0) return io_error(path, errno);
  return run({"git", "-C", root, "pack-objects", "--stdout", "-q", "--delta-base-offset"},
             list.get(), out.get());
}

using clean_head = result<std::optional<std::vector<std::string>>>;

std::future<clean_head> ask_if_clean(const packed& what) {
  return std::async(std::launch::async, [&] { return files_of_clean_head(what.root, what.head); });
}

/// Reads, watches and packs `list`. `asked` is begun once all was read: an edit meanwhile then
/// shows as "not clean".
result<void> pack_files(listed_tree list, const std::string& archive_path,
                        const pack_options& options, steady_time deadline, packed& out,
                        std::future<clean_head>& asked) {
  auto dir = open_root(out.root);
  if (!dir) return dir.err();
  tree_reader tree{dir->get()};
  out.began_ns = wall_ns();
  auto stream = pack_stream::create(
      archive_path, {options.form, options.workers, options.cancel, options.watcher});
  if (!stream) return stream.err();
  stream->expect(list.paths.size());
  out.stamps = std::move(list.stamps); // those of the files that are read take their places
  for (std::size_t i = 0; i < list.paths.size(); ++i) {
    auto& path = list.paths[i];
    if (ms_until(deadline) == 0) return make_error(errc::timed_out, "packing " + out.root);
    auto opened = open_entry(tree, std::move(path));
    if (!opened) {
      if (opened.err().code == errc::file_not_found)
        return make_error(errc::io,
                          opened.err().message + " vanished while the work tree was packed");
      return opened.err();
    }
    out.stamps[i] = opened->stamp;
    if (auto added = stream->add(std::move(*opened)); !added) return added;
  }
  asked = ask_if_clean(out);
  auto done = stream->finish();
  if (!done) return done.err();
  out.archive_bytes = done->bytes;
  out.archive_sha256 = done->sha256;
  out.manifest.files = std::move(done->entries);
  out.manifest.finish();
  return {};
}

/// The pack of HEAD beside the archive. Without it (say, a partial clone that lacks objects) the
/// base is a new commit: no reason to fail.
void add_head_pack(const std::string& path, const pack_options& options, steady_time deadline,
                   const kept_pack& kept, packed& out) {
  if (out.reused && kept.reuse_head(path, out)) return;
  if (make_head_pack(out.root, out.head, path, deadline, options.cancel)) {
    struct stat st {};
    auto digest = sha256_of_file(path);
    if (digest && ::stat(path.c_str(), &st) == 0) {
      out.head_pack_path = path;
      out.head_pack_bytes = static_cast<std::uint64_t>(st.st_size);
      out.head_pack_sha256 = *digest;
      return;
    }
  }
  ::unlink(path.c_str());
}

bool same_names(const std::vector<std::string>& names, const std::vector<file_entry>& files) {
  return std::equal(names.begin(), names.end(), files.begin(), files.end(),
                    [](const std::string& a, const file_entry& b) { return a == b.path; });
}

} // namespace

result<packed> pack_worktree(const std::string& repo, const std::string& archive_path,
                             const pack_options& options) {
  auto deadline = std::chrono::steady_clock::now() + options.limit;
  auto facts = inspect_head(repo);
  if (!facts) return facts.err();
  packed out;
  out.root = facts->root;
  out.head = facts->head;
  // While git lists the tree, what was kept is hashed, and git is asked whether all is as in HEAD.
  // A file that has the stamp it was packed with was not written to since, whenever git looks.
  auto look = std::async(std::launch::async, [&] { return kept_pack::find(options, out.root); });
  std::future<clean_head> asked;
  if (kept_pack::likely(options, out.root)) asked = ask_if_clean(out);
  auto list = list_with_stamps(out.root, &out.skipped, options.cancel);
  auto kept = look.get();
  if (!list) return list.err();
  if (list->paths.empty()) return make_error(errc::empty_repository, out.root);
  if (!kept.reuse(*list, archive_path, out))
    if (auto done = pack_files(std::move(*list), archive_path, options, deadline, out, asked);
        !done) {
      ::unlink(archive_path.c_str());
      return done.err();
    }
  if (!asked.valid()) asked = ask_if_clean(out);
  auto clean = asked.get();
  out.clean = clean && *clean && same_names(**clean, out.manifest.files);
  if (out.clean && options.head_pack)
    add_head_pack(archive_path + ".pack", options, deadline, kept, out);
  return out;
}

} // namespace skep::transfer
