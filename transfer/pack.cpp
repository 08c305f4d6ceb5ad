#include "transfer/pack.hpp"

#include "transfer/beneath.hpp"
#include "transfer/sha256.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {
namespace {

/// Objects of exactly the commit HEAD and its trees and blobs, without its history.
result<void> make_head_pack(const std::string& root, const std::string& path, steady_time deadline,
                            const std::atomic<bool>* cancel) {
  auto parent = path.substr(0, path.rfind('/') == path.npos ? 0 : path.rfind('/') + 1);
  unique_fd list{
      ::open(parent.empty() ? "." : parent.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
  unique_fd out{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
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
      run({"git", "-C", root, "rev-list", "--objects", "--no-walk", "HEAD"}, -1, list.get());
  if (!listed) return listed;
  if (::lseek(list.get(), 0, SEEK_SET) != 0) return io_error(path, errno);
  return run({"git", "-C", root, "pack-objects", "--stdout", "-q", "--delta-base-offset"},
             list.get(), out.get());
}

result<void> pack_files(const std::string& root, const std::vector<std::string>& paths,
                        const std::string& archive_path, const pack_options& options,
                        steady_time deadline, packed& out) {
  auto dir = open_root(root);
  if (!dir) return dir.err();
  auto writer = archive_writer::create(archive_path, options.level);
  if (!writer) return writer.err();
  std::string buffer(256 * 1024, '\0');
  for (const auto& path : paths) {
    if (ms_until(deadline) == 0) return make_error(errc::timed_out, "packing " + root);
    auto opened = open_entry(dir->get(), path);
    if (!opened) {
      if (opened.err().code == errc::file_not_found)
        return make_error(errc::io, path + " vanished while the work tree was packed");
      return opened.err();
    }
    auto added = append_file(*writer, *opened, buffer, options.cancel, options.watcher);
    if (!added) return added;
    out.manifest.files.push_back(std::move(opened->entry));
  }
  auto done = writer->finish();
  if (!done) return done.err();
  out.archive_bytes = done->bytes;
  out.archive_sha256 = done->sha256;
  out.manifest.finish();
  return {};
}

} // namespace

result<packed> pack_worktree(const std::string& repo, const std::string& archive_path,
                             const pack_options& options) {
  auto deadline = std::chrono::steady_clock::now() + options.limit;
  auto facts = inspect_repo(repo);
  if (!facts) return facts.err();
  packed out;
  out.head = facts->head;
  auto paths = list_worktree(facts->root, &out.skipped, options.cancel);
  if (!paths) return paths.err();
  if (auto done = pack_files(facts->root, *paths, archive_path, options, deadline, out); !done) {
    ::unlink(archive_path.c_str());
    return done.err();
  }
  // Asked after the files were read: an edit meanwhile then shows as "not clean".
  auto clean = worktree_is_head(facts->root, *paths);
  out.clean = clean && *clean;
  if (!out.clean || !options.head_pack) return out;
  auto pack = archive_path + ".pack";
  if (make_head_pack(facts->root, pack, deadline, options.cancel)) {
    struct stat st {};
    auto digest = sha256_of_file(pack);
    if (digest && ::stat(pack.c_str(), &st) == 0) {
      out.head_pack_path = pack;
      out.head_pack_bytes = static_cast<std::uint64_t>(st.st_size);
      out.head_pack_sha256 = *digest;
      return out;
    }
  }
  // Without it (say, a partial clone that lacks objects) the base is a new commit: no reason to
  // fail.
  ::unlink(pack.c_str());
  return out;
}

} // namespace skep::transfer
