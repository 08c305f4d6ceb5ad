#include "transfer/results_proof.hpp"

#include "transfer/git_output.hpp"
#include "transfer/kept.hpp"
#include "transfer/tree_diff.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <set>

namespace skep::transfer {
namespace {

namespace fs = std::filesystem;

/// True where a file of `size` bytes has no room in `dir`.
bool lacks_room(const std::string& dir, std::uint64_t size) {
  const auto path = dir + "/room";
  unique_fd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
  auto number = file ? ::posix_fallocate(file.get(), 0, static_cast<off_t>(size)) : errno;
  ::unlink(path.c_str());
  return number == ENOSPC || number == EDQUOT || number == EFBIG;
}

class prover {
public:
  // git runs in folders of its own: relative names would mean something else there.
  prover(const pane_changes& x, const std::string& came, const std::string& scratch,
         const std::string& anew)
      : x_(x), came_(came), anew_(anew), scratch_(fs::absolute(scratch).string()),
        files_(fs::absolute(x.files_dir).string()) {}

  result<patch_proof> run(const std::string& upload) {
    auto before = begin(upload);
    if (!before) return before.err();
    // Before the files are taken in: git takes the result of a binary patch from the repository
    // where it is there already, and reads no further.
    auto given = given_tree();
    if (!given) return given.err();
    auto after = result_tree(*before);
    if (!after) return after.err();
    patch_proof out;
    bool gives = *given == *after, same = *before == *after;
    if (!gives) {
      out.doubt = difference(*given, *after);
      out.origin = out.doubt.empty() ? patch_origin::without_links : patch_origin::made_here;
    } else if (same || !x_.summary.squashed) {
      return out;
    }
    auto written = same ? write_nothing()
                        : write_tree_diff(
                            [this](std::vector<std::string> arguments) {
                              return call(std::move(arguments), empty_);
                            },
                            *before, *after, anew_);
    if (!written && !gives) return refuse(written.err(), out.doubt);
    out.anew = written.ok();
    return out;
  }

  /// Whether the proof failed for want of room, which says nothing of the patch. Where git alone
  /// says so there must be less room than all of it would take: what git wrote is gone by then.
  bool disk_was_full(const error& why) const {
    if (why.code == errc::disk_full) return true;
    std::error_code none;
    auto patch = fs::file_size(came_, none);
    return why.code == errc::io && tells_of_full_disk(why)
           && lacks_room(scratch_, least_room + x_.files.total_bytes + (none ? 0 : patch));
  }

private:
  static constexpr std::uint64_t least_room = 16u << 20;

  /// The originals of what the pane touches, as a tree.
  result<std::string> begin(const std::string& upload) {
    const auto originals = scratch_ + "/originals", repository = scratch_ + "/repository";
    empty_ = scratch_ + "/empty";
    for (const auto& dir : {originals, repository, empty_})
      if (auto made = make_dirs(dir); !made) return made.err();
    auto git_dir = make_own_repository(repository, x_.summary.head.size() == 64);
    if (!git_dir) return git_dir.err();
    git_dir_ = std::move(*git_dir);
    std::set<std::string> wanted{x_.touched.begin(), x_.touched.end()};
    unpack_limits limits;
    limits.outward_links = true; // our own archive; they are never followed
    limits.only = &wanted;
    auto found = unpack_archive(upload, originals, limits);
    if (!found) return found.err();
    if (auto done = take_in(*found, originals); !done) return done.err();
    return write_tree();
  }

  /// What taking the files over makes of the originals.
  result<std::string> result_tree(const std::string& before) {
    auto gone = x_.summary.deleted;
    for (const auto& [from, to] : x_.summary.renamed)
      gone.push_back(from);
    if (auto done = run_for_output(call({"read-tree", before}, empty_)); !done) return done.err();
    if (auto done = update({"--force-remove"}, gone, empty_); !done) return done.err();
    if (auto done = take_in(x_.files, files_); !done) return done.err();
    return write_tree();
  }

  result<void> take_in(const manifest& files, const std::string& dir) {
    std::vector<std::string> paths;
    for (const auto& f : files.files)
      paths.push_back(f.path);
    return update({"--add", "--replace"}, paths, dir);
  }

  /// Feeds NUL-terminated paths to update-index.
  result<void> update(std::vector<std::string> how, const std::vector<std::string>& paths,
                      const std::string& dir) {
    if (paths.empty()) return {};
    how.insert(how.begin(), "update-index");
    how.insert(how.end(), {"-z", "--stdin"});
    auto p = call(std::move(how), dir);
    for (const auto& path : paths)
      (p.stdin_data += path) += '\0';
    auto done = run_for_output(p);
    if (!done) return done.err();
    return {};
  }

  result<std::string> write_tree() {
    auto id = run_for_output(call({"write-tree"}, empty_));
    if (id && id->ends_with('\n')) id->pop_back();
    return id;
  }

  program call(std::vector<std::string> arguments, const std::string& work_tree) const {
    program p;
    p.argv = {"git",
              "-c",
              "core.hooksPath=/dev/null",
              "-c",
              "core.fsmonitor=false",
              "-c",
              "core.attributesFile=/dev/null"};
    p.argv.insert(p.argv.end(), arguments.begin(), arguments.end());
    p.environment = git_environment();
    p.environment->insert(p.environment->end(),
                          {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
                           "GIT_ATTR_NOSYSTEM=1", "GIT_DIR=" + git_dir_,
                           "GIT_WORK_TREE=" + work_tree});
    p.working_dir = work_tree;
    p.limit = std::chrono::minutes{5};
    return p;
  }

  /// What the patch that came makes of the originals, which the index holds; empty where git cannot
  /// apply it. An error only where the disk is full: that says nothing of the patch.
  result<std::string> given_tree() {
    auto done =
        run_for_output(call({"-c", "apply.whitespace=nowarn", "-c", "apply.ignoreWhitespace=no",
                             "apply", "--cached", "--whitespace=nowarn", "--", came_},
                            empty_));
    auto tree = done ? write_tree() : done;
    if (!tree && disk_was_full(tree.err())) return tree.err();
    return tree ? *tree : std::string{};
  }

  /// For people: the first path, or that there is none. Empty where only links that were left out
  /// make the difference.
  std::string difference(const std::string& given, const std::string& after) const {
    if (given.empty()) return "it does not apply to what was uploaded";
    auto names = run_for_output(
        call({"diff-tree", "-r", "--no-renames", "--name-only", "-z", given, after}, empty_));
    auto paths = names ? split_nul(*names) : std::vector<std::string>{};
    const bool any = !paths.empty();
    std::erase_if(paths, [this](const std::string& path) {
      return std::any_of(x_.left_out.begin(), x_.left_out.end(),
                         [&](const left_out_link& link) { return link.path == path; });
    });
    if (any && paths.empty()) return {};
    return paths.empty() ? "it gives other files" : shown_path(paths.front()) + " differs";
  }

  result<void> write_nothing() const {
    unique_fd to{::open(anew_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!to) return io_error(anew_, errno);
    return {};
  }

  error refuse(error why, const std::string& doubt) const {
    if (why.code == errc::verification)
      why.message = "the patch of " + x_.name + " is not what its files are (" + doubt + "), and "
                    + why.message;
    return why;
  }

  const pane_changes& x_;
  const std::string &came_, &anew_;
  std::string scratch_, files_, git_dir_, empty_;
};

} // namespace

result<patch_proof> prove_patch(const pane_changes& x, const std::string& came,
                                const std::string& upload, const std::string& scratch,
                                const std::string& anew) {
  // Nothing was touched: neither has anything to say.
  if (x.touched.empty() && x.summary.empty()) return patch_proof{};
  prover proof{x, came, scratch, anew};
  auto done = proof.run(upload);
  if (done || !proof.disk_was_full(done.err())) return done;
  auto why = done.err();
  why.code = errc::disk_full;
  return why;
}

} // namespace skep::transfer
