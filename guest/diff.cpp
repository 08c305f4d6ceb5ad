#include "guest/diff.hpp"

#include "guest/git.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/beneath.hpp"
#include "transfer/git_output.hpp"
#include "transfer/sha256.hpp"
#include "transfer/tree_diff.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

using transfer::diff_summary;
using transfer::split_nul;
using transfer::unique_fd;

class differ {
public:
  differ(const diff_options& o, std::string scratch)
      : o_(o), g_(o.tree), own_(o.tree), scratch_(std::move(scratch)) {}

  result<diff_summary> run() {
    if (auto made = begin(); !made) return made.err();
    base_tree_ = id(o_.base);
    if (base_tree_.empty()) return make_error(errc::not_found, "the base commit " + o_.base);
    auto head = g_.line({"rev-parse", "--verify", "-q", "HEAD^{commit}"});
    if (!head) return make_error(errc::not_found, "no commit in " + o_.tree, head.err().cause);
    out_.head = *head;
    if (auto done = commit_leftovers(); !done) return done.err();
    head_tree_ = id(out_.head);
    if (auto done = leave_out_repositories(); !done) return done.err();
    if (auto done = list_changes(); !done) return done.err();
    if (auto done = write_patch(); !done) return done.err();
    if (auto done = write_files(); !done) return done.err();
    return std::move(out_);
  }

private:
  /// A repository of our own with the pane's objects and its work tree: no stale lock, no "assume
  /// unchanged" bit, no half-done merge, and none of its attributes and filters has a say.
  result<void> begin() {
    auto common = g_.line({"rev-parse", "--git-common-dir"});
    if (!common) return make_error(errc::not_found, "no repository in " + o_.tree);
    if (!common->starts_with('/')) *common = o_.tree + "/" + *common;
    auto made = transfer::make_own_repository(scratch_, o_.base.size() == 64);
    if (!made) return made.err();
    own_.environment("GIT_DIR=" + *made);
    own_.environment("GIT_WORK_TREE=" + o_.tree);
    own_.environment("GIT_OBJECT_DIRECTORY=" + *common + "/objects");
    own_.environment("GIT_SHALLOW_FILE=" + *common + "/shallow");
    excludes_ = "core.excludesFile=" + *common + "/info/exclude";
    return {};
  }

  /// The tree of a commit, or empty.
  std::string id(const std::string& commit) {
    auto tree = own_.line({"rev-parse", "--verify", "-q", commit + "^{tree}"});
    return tree ? *tree : std::string{};
  }

  // -- leftovers
  // ------------------------------------------------------------------------------------

  result<void> commit_leftovers() {
    if (auto read = own_.run({"read-tree", out_.head}); !read) return read;
    if (auto found = find_nested(); !found) return found;
    std::vector<std::string> add{"-c", excludes_, "add", "-A", "--", "."};
    for (const auto& n : out_.nested)
      add.push_back(":(exclude,literal,top)" + n);
    if (auto added = own_.run(add); !added) return added;
    auto tree = own_.line({"write-tree"});
    if (!tree) return tree.err();
    if (*tree == id(out_.head)) return {};
    if (auto who = g_.test({"var", "GIT_AUTHOR_IDENT"}); !who || !*who)
      for (const char* entry :
           {"GIT_AUTHOR_NAME=skep agent", "GIT_AUTHOR_EMAIL=agent@skep.invalid",
            "GIT_COMMITTER_NAME=skep agent", "GIT_COMMITTER_EMAIL=agent@skep.invalid"})
        g_.environment(entry);
    auto commit =
        g_.line({"commit-tree", *tree, "-p", out_.head, "-m", "Uncommitted changes of " + o_.name});
    if (!commit) return commit.err();
    out_.head = *commit;
    if (o_.look_only) return {};
    // For whoever looks into the sandbox; the result does not rest on them.
    static_cast<void>(g_.test({"update-ref", "HEAD", *commit}));
    static_cast<void>(g_.test({"read-tree", *commit}));
    return {};
  }

  /// Untracked repositories inside the tree (git lists them as "name/"): git would record a commit
  /// of theirs that exists nowhere else.
  result<void> find_nested() {
    auto text = own_.out({"-c", excludes_, "ls-files", "-z", "--others", "--exclude-standard"});
    if (!text) return text.err();
    for (auto& name : split_nul(*text))
      if (name.ends_with('/')) {
        name.pop_back();
        out_.nested.push_back(std::move(name));
      }
    return {};
  }

  /// Repositories that the agent committed: a commit of theirs is recorded that exists nowhere
  /// else, and no file of theirs is in the tree. They are named, and the result is without them.
  result<void> leave_out_repositories() {
    auto text = own_.out({"ls-tree", "-r", "-z", head_tree_});
    if (!text) return text.err();
    std::vector<std::string> inner;
    for (const auto& item : split_nul(*text)) // "160000 commit ID\tPATH"
      if (auto tab = item.find('\t'); item.starts_with("160000 ") && tab != item.npos)
        inner.push_back(item.substr(tab + 1));
    if (inner.empty()) return {};
    if (auto read = own_.run({"read-tree", head_tree_}); !read) return read;
    auto strip = own_.call({"update-index", "--force-remove", "-z", "--stdin"});
    for (auto& path : inner)
      (strip.stdin_data += path) += '\0';
    if (auto done = transfer::run_for_output(strip); !done) return done.err();
    auto tree = own_.line({"write-tree"});
    if (!tree) return tree.err();
    head_tree_ = *tree;
    out_.nested.insert(out_.nested.end(), inner.begin(), inner.end());
    return {};
  }

  // -- summary
  // --------------------------------------------------------------------------------------

  result<void> list_changes() {
    auto count = own_.line({"rev-list", "--count", o_.base + ".." + out_.head});
    if (!count) return count.err();
    if (head_tree_ == base_tree_) return {};
    out_.commits = std::max(1ull, std::strtoull(count->c_str(), nullptr, 10));
    auto text = own_.out({"diff-tree", "-r", "-z", "-M", "--name-status", base_tree_, head_tree_});
    if (!text) return text.err();
    transfer::name_changes found;
    if (!transfer::read_name_status(*text, found))
      return make_error(errc::internal, "git diff-tree printed something else than names");
    out_.modified = std::move(found.modified);
    out_.added = std::move(found.added);
    out_.deleted = std::move(found.deleted);
    out_.renamed = std::move(found.renamed);
    // Apart from the renames, of which more candidates would leave fewer within git's limit for
    // comparing contents. First exact copies of any file, which compares hashes alone however large
    // the tree is, then similar ones of files that were changed.
    if (auto done = find_copies({"-C100%", "--find-copies-harder"}); !done) return done;
    return find_copies({"-C"});
  }

  /// Takes out of the added files those that began as a file of the base; an empty one is no copy.
  result<void> find_copies(const std::vector<std::string>& how) {
    if (out_.added.empty()) return {};
    std::vector<std::string> arguments{"diff-tree", "-r", "-z", "--no-rename-empty",
                                       "--name-status"};
    arguments.insert(arguments.end(), how.begin(), how.end());
    arguments.insert(arguments.end(), {base_tree_, head_tree_});
    auto text = own_.out(arguments);
    if (!text) return text.err();
    transfer::name_changes found;
    if (!transfer::read_name_status(*text, found))
      return make_error(errc::internal, "git diff-tree printed something else than names");
    // Of several copies of a file that is gone, git calls one the rename, not always the same one.
    std::map<std::string, std::string> origins;
    for (auto* list : {&found.copied, &found.renamed})
      for (auto& [from, to] : *list)
        origins.emplace(std::move(to), std::move(from));
    std::erase_if(out_.added, [&](const std::string& path) {
      auto origin = origins.find(path);
      if (origin == origins.end()) return false;
      out_.copied.emplace_back(origin->second, path);
      return true;
    });
    return {};
  }

  // -- patch
  // ----------------------------------------------------------------------------------------

  result<void> write_patch() {
    auto path = o_.out + "/" + o_.name + ".patch";
    if (head_tree_ == base_tree_) {
      if (auto emptied = generate({}, path); !emptied) return emptied;
    } else {
      // Of a rename git takes the old file from the base, not from the patch before: a file that
      // was changed and then renamed needs the longer form.
      bool series = is_series() && (write_series(path, "-M") || write_series(path, "--no-renames"));
      if (!series) {
        out_.squashed = true;
        auto written = transfer::write_tree_diff(caller(), base_tree_, head_tree_, path);
        if (!written) return written;
      }
    }
    return describe(path, out_.patch_bytes, out_.patch_sha256);
  }

  /// True when the series could be written and gives the tree.
  bool write_series(const std::string& path, const std::string& renames) {
    std::vector<std::string> arguments{"format-patch",
                                       "--stdout",
                                       "--no-attach",
                                       "--no-signature",
                                       "--no-cover-letter",
                                       "--no-thread",
                                       "--no-numbered",
                                       "--no-notes",
                                       "--no-base",
                                       "--no-to",
                                       "--no-cc",
                                       "--no-add-header",
                                       "--no-encode-email-headers",
                                       "--subject-prefix=PATCH"};
    const auto& form = transfer::diff_form();
    arguments.insert(arguments.end(), form.begin(), form.end());
    arguments.insert(arguments.end(), {renames, o_.base + ".." + out_.head});
    return generate(std::move(arguments), path).ok()
           && transfer::gives_tree(caller(), base_tree_, head_tree_, path);
  }

  /// HEAD descends from the base without merges.
  bool is_series() {
    auto descends = own_.test({"merge-base", "--is-ancestor", o_.base, out_.head});
    if (!descends || !*descends) return false;
    auto merges = own_.line({"rev-list", "--count", "--merges", o_.base + ".." + out_.head});
    return merges && *merges == "0";
  }

  /// Runs git with its output in `path`; without arguments the file is made empty.
  result<void> generate(std::vector<std::string> arguments, const std::string& path) {
    unique_fd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!fd) return transfer::io_error(path, errno);
    if (arguments.empty()) return {};
    auto p = own_.call(std::move(arguments));
    p.stdout_fd = fd.get();
    auto ran = transfer::run_for_output(p);
    if (!ran) return ran.err();
    return {};
  }

  transfer::git_call caller() const {
    return [this](std::vector<std::string> arguments) { return own_.call(std::move(arguments)); };
  }

  result<void> describe(const std::string& path, std::uint64_t& bytes, std::string& digest) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) return transfer::io_error(path, errno);
    auto hash = transfer::sha256_of_file(path);
    if (!hash) return hash.err();
    bytes = static_cast<std::uint64_t>(st.st_size);
    digest = *hash;
    return {};
  }

  // -- files
  // ----------------------------------------------------------------------------------------

  /// From the work tree, which is what the commit holds: the files were taken into it byte by byte.
  result<void> write_files() {
    std::vector<std::string> paths = out_.modified;
    paths.insert(paths.end(), out_.added.begin(), out_.added.end());
    for (const auto* list : {&out_.renamed, &out_.copied})
      for (const auto& [from, to] : *list)
        paths.push_back(to);
    std::sort(paths.begin(), paths.end());
    auto root = transfer::open_root(o_.tree);
    if (!root) return root.err();
    auto writer = transfer::archive_writer::create(o_.out + "/" + o_.name + ".tar");
    if (!writer) return writer.err();
    std::string buffer(256 * 1024, '\0');
    for (const auto& path : paths) {
      auto opened = transfer::open_entry(root->get(), path);
      if (!opened) return opened.err();
      auto added = transfer::append_file(*writer, *opened, buffer);
      if (!added) return added;
    }
    auto done = writer->finish();
    if (!done) return done.err();
    out_.tar_bytes = done->bytes;
    out_.tar_sha256 = done->sha256;
    return {};
  }

  const diff_options& o_;
  git g_;   ///< The pane's repository, for its HEAD and identity alone.
  git own_; ///< Ours, from begin() on.
  std::string scratch_, excludes_, base_tree_, head_tree_;
  diff_summary out_;
};

/// False where the folder cannot be opened and its name says nothing by itself.
bool make_absolute(std::string& folder) {
  unique_fd fd{::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  std::string absolute(4096, '\0');
  auto n = ::readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), absolute.data(),
                      absolute.size());
  if (n > 0) folder = absolute.substr(0, static_cast<std::size_t>(n));
  return folder.starts_with('/');
}

} // namespace

result<diff_summary> diff_pane(const diff_options& given) {
  auto o = given;
  if (!is_object_id(o.base)) return make_error(errc::bad_argument, "not a commit: " + o.base);
  if (!transfer::safe_relative(o.name) || o.name.find('/') != o.name.npos)
    return make_error(errc::bad_argument, "not a pane's name: " + o.name);
  if (auto made = transfer::make_dirs(o.out); !made) return made.err();
  // git runs inside the tree: relative names would mean something else there.
  if (!make_absolute(o.out))
    return make_error(errc::bad_argument, "--out must be an absolute path");
  if (!make_absolute(o.tree)) return make_error(errc::not_found, "no folder " + o.tree);
  auto scratch = transfer::temp_dir::make(o.out);
  if (!scratch) return scratch.err();
  return differ{o, scratch->path()}.run();
}

} // namespace skep::guest
