#include "guest/diff.hpp"

#include "guest/diff_repositories.hpp"
#include "guest/readable.hpp"
#include "guest/room.hpp"
#include "guest/too_large.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/beneath.hpp"
#include "transfer/git_output.hpp"
#include "transfer/sha256.hpp"
#include "transfer/tree_diff.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

using transfer::diff_summary;
using transfer::split_nul;
using transfer::unique_fd;

class differ {
public:
  /// `apart`: what git makes stays in `scratch`, too, for the tree's disk has no room.
  differ(const diff_options& o, std::string scratch, bool apart)
      : o_(o), apart_(apart), g_(o.tree), own_(o.tree), scratch_(std::move(scratch)) {}

  result<diff_summary> run() {
    auto made = make_repositories(o_, scratch_, apart_, g_, own_);
    if (!made) return made.err();
    from_ = std::move(*made);
    base_tree_ = id(o_.base);
    if (base_tree_.empty()) return no_base();
    if (auto done = take_head(); !done) return done.err();
    if (auto done = commit_leftovers(); !done) return done.err();
    head_tree_ = id(out_.head);
    if (auto done = leave_out_repositories(); !done) return done.err();
    if (auto done = leave_out_unreadable(); !done) return done.err();
    if (auto done = leave_out_large(); !done) return done.err();
    if (auto done = list_changes(); !done) return done.err();
    if (auto done = write_patch(); !done) return done.err();
    if (auto done = write_files(); !done) return done.err();
    return std::move(out_);
  }

private:
  error no_base() const {
    return make_error(errc::not_found, "the base commit " + o_.base,
                      "the repository that held it was replaced or removed, so that there is "
                      "nothing to compare "
                          + o_.tree + " with");
  }

  /// The newest commit of the agent, or the base where there is none: a repository that it made
  /// anew, a branch without a commit. The files count, whatever became of their history.
  result<void> take_head() {
    if (from_.has_repository()) {
      auto head = g_.line({"rev-parse", "--verify", "-q", "HEAD^{commit}"});
      if (head && !id(*head).empty() && own_.run({"read-tree", *head})) {
        out_.head = *head;
        return {};
      }
    }
    out_.head = o_.base;
    out_.no_history = true;
    return own_.run({"read-tree", o_.base});
  }

  /// The tree of a commit, or empty.
  std::string id(const std::string& commit) {
    auto tree = own_.line({"rev-parse", "--verify", "-q", commit + "^{tree}"});
    return tree ? *tree : std::string{};
  }

  // -- leftovers
  // ------------------------------------------------------------------------------------

  result<void> commit_leftovers() {
    if (auto added = add_all(); !added) return added;
    auto tree = own_.line({"write-tree"});
    if (!tree) return tree.err();
    if (*tree == id(out_.head)) return {};
    git& committer = from_.has_repository() ? g_ : own_;
    auto who = g_.test({"var", "GIT_AUTHOR_IDENT"});
    if (!from_.has_repository() || !who || !*who)
      for (const char* entry :
           {"GIT_AUTHOR_NAME=skep agent", "GIT_AUTHOR_EMAIL=agent@skep.invalid",
            "GIT_COMMITTER_NAME=skep agent", "GIT_COMMITTER_EMAIL=agent@skep.invalid"})
        committer.environment(entry);
    auto commit = committer.line(
        {"commit-tree", *tree, "-p", out_.head, "-m", "Uncommitted changes of " + o_.name});
    if (!commit) return commit.err();
    out_.head = *commit;
    // A repository that lacks the base, or the commit itself, would have a HEAD with holes.
    if (o_.look_only || apart_ || out_.no_history || !from_.holds_base) return {};
    // For whoever looks into the sandbox; the result does not rest on them.
    static_cast<void>(g_.test({"update-ref", "HEAD", *commit}));
    static_cast<void>(g_.test({"read-tree", *commit}));
    return {};
  }

  /// Takes the work tree into our index. git passes over a folder that it cannot open, with a word
  /// on its standard error, and gives up at such a file: then what can be read is made so, and what
  /// is left goes without.
  result<void> add_all() {
    if (auto found = find_nested(); !found) return found;
    auto first = transfer::run_program(add_call());
    if (!first) return first.err();
    if (first->good() && first->err.empty()) return {};
    // A look gives no rights: the agent may be testing what happens without them.
    out_.unreadable = unreadable_below(o_.tree, !o_.look_only);
    if (auto found = find_nested(); !found) return found;
    if (auto kept = forget_ignored(); !kept) return kept;
    auto again = transfer::run_for_output(add_call());
    if (!again) return again.err();
    return {};
  }

  transfer::program add_call() const {
    const std::string but = ":(exclude,literal,top)";
    if (out_.unreadable.empty()) {
      std::vector<std::string> add{"-c", from_.excludes, "add", "-A", "--", "."};
      for (const auto& path : out_.nested)
        add.push_back(but + path);
      return own_.call(std::move(add));
    }
    // Any number of names; a git of before 2.25 cannot, and would give up at the file anyway.
    auto call = own_.call(
        {"-c", from_.excludes, "add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul"});
    call.stdin_data = std::string{".\0", 2};
    for (const auto* list : {&out_.nested, &out_.unreadable})
      for (const auto& path : *list)
        ((call.stdin_data += but) += path) += '\0';
    return call;
  }

  /// What git ignores, or what lies in a repository that is left out, is not missed.
  result<void> forget_ignored() {
    std::set<std::string> inner(out_.nested.begin(), out_.nested.end());
    std::erase_if(out_.unreadable, [&](const std::string& path) { return lies_in(inner, path); });
    if (out_.unreadable.empty()) return {};
    auto ask = own_.call({"-c", from_.excludes, "check-ignore", "-z", "--stdin"});
    const std::string plain = "./"; // no name is taken for a pattern
    for (const auto& path : out_.unreadable)
      ((ask.stdin_data += plain) += path) += '\0';
    auto told = transfer::run_program(ask); // exit code 1: it ignores none
    if (!told) return told.err();
    auto ignored = split_nul(told->out);
    std::set<std::string> gone(ignored.begin(), ignored.end());
    std::erase_if(out_.unreadable,
                  [&](const std::string& path) { return gone.contains(plain + path); });
    std::sort(out_.unreadable.begin(), out_.unreadable.end());
    return {};
  }

  /// True for one of `paths` and for what is below one.
  static bool lies_in(const std::set<std::string>& paths, const std::string& path) {
    for (auto end = path.find('/'); end != path.npos; end = path.find('/', end + 1))
      if (paths.contains(path.substr(0, end))) return true;
    return paths.contains(path);
  }

  /// Untracked repositories inside the tree (git lists them as "name/"): git would record a commit
  /// of theirs that exists nowhere else.
  result<void> find_nested() {
    out_.nested.clear();
    auto text =
        own_.out({"-c", from_.excludes, "ls-files", "-z", "--others", "--exclude-standard"});
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

  /// What cannot be read is as in the base, though a commit may have more of it: it does not go
  /// into the archive, and patch and files tell the same.
  result<void> leave_out_unreadable() { return put_back(out_.unreadable); }

  /// What is too large goes the same way: a patch that git refuses would cost all of the work.
  result<void> leave_out_large() {
    if (head_tree_ == base_tree_) return {};
    auto found = too_large(own_, base_tree_, head_tree_, o_.limits.patched_bytes);
    if (!found) return found.err();
    out_.too_large = std::move(*found);
    return put_back(out_.too_large);
  }

  /// Gives these paths, and what is below them, what the base has there.
  result<void> put_back(const std::vector<std::string>& paths) {
    if (paths.empty()) return {};
    std::set<std::string> left(paths.begin(), paths.end());
    if (auto read = own_.run({"read-tree", head_tree_}); !read) return read;
    auto put = own_.call({"update-index", "-z", "--index-info"});
    const auto nothing = "0 " + std::string(o_.base.size(), '0');
    for (const auto* tree : {&head_tree_, &base_tree_}) {
      auto text = own_.out({"ls-tree", "-r", "-z", *tree});
      if (!text) return text.err();
      for (const auto& item : split_nul(*text)) { // "100644 blob ID\tPATH"
        auto tab = item.find('\t');
        if (tab == item.npos || item.starts_with("160000 ") || !lies_in(left, item.substr(tab + 1)))
          continue;
        put.stdin_data += tree == &base_tree_ ? item : nothing + item.substr(tab);
        put.stdin_data += '\0';
      }
    }
    if (auto done = transfer::run_for_output(put); !done) return done.err();
    auto tree = own_.line({"write-tree"});
    if (!tree) return tree.err();
    head_tree_ = *tree;
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

  /// HEAD descends from the base without merges, and its commits hold nothing that is too large.
  bool is_series() {
    if (out_.no_history || !out_.too_large.empty()) return false;
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
  const bool apart_;
  git g_;   ///< The pane's repository, for its HEAD and identity alone.
  git own_; ///< Ours, from make_repositories() on.
  std::string scratch_, base_tree_, head_tree_;
  diff_repositories from_;
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

const std::vector<std::string>& endings() {
  static const std::vector<std::string> all{".patch", ".tar", ".json"};
  return all;
}

/// True when the error of a difference in `o.out` may come from a disk without room. A base that no
/// repository holds does not.
bool lacked_room(const diff_options& o, const error& e) {
  if (e.code == errc::not_found) return false;
  auto full = [](const std::string& folder) { return look_for_room(folder).room < enough_room; };
  return transfer::tells_of_full_disk(e) || full(o.out) || full(o.tree);
}

/// `another_place`: what failed may do where there is more room.
result<diff_summary> diff_in_place(const diff_options& o, bool apart, bool& another_place) {
  auto made = transfer::make_dirs(o.out);
  auto scratch = made ? transfer::temp_dir::make(o.out) : result<transfer::temp_dir>{made.err()};
  if (!scratch) {
    another_place = lacked_room(o, scratch.err());
    return scratch.err();
  }
  auto summary = differ{o, scratch->path(), apart}.run();
  // What it wrote still lies there: a disk that it filled is seen to be full.
  another_place = !summary && lacked_room(o, summary.err());
  return summary;
}

/// In `o.out`, which becomes a link to `on`; nothing is left of it where that fails.
result<diff_summary> diff_elsewhere(const diff_options& o, const std::string& on,
                                    bool& another_place) {
  for (const auto& ending : endings())
    ::unlink((o.out + "/" + o.name + ending).c_str());
  borrowed_folder out;
  another_place = true;
  if (auto made = out.make(o.out, on); !made) return made.err();
  auto summary = diff_in_place(o, true, another_place);
  if (summary) out.keep();
  return summary;
}

/// The folder for results on its own disk while that has room, and what git makes on the tree's;
/// else, where an agent has filled its disk, all of it on another one.
result<diff_summary> diff_where_room_is(const diff_options& o) {
  const auto usual = look_for_room(o.out);
  const auto tree = look_for_room(o.tree);
  const bool apart = tree.disk != usual.disk && tree.room < enough_room;
  error last;
  for (const auto& at : by_room(usual, spare_places())) {
    bool another_place = false;
    auto summary = at.folder == o.out ? diff_in_place(o, apart, another_place)
                                      : diff_elsewhere(o, at.folder, another_place);
    if (summary || !another_place) return summary;
    last = summary.err();
  }
  return last;
}

} // namespace

result<diff_summary> diff_pane(const diff_options& given) {
  auto o = given;
  if (!is_object_id(o.base)) return make_error(errc::bad_argument, "not a commit: " + o.base);
  if (!transfer::safe_relative(o.name) || o.name.find('/') != o.name.npos)
    return make_error(errc::bad_argument, "not a pane's name: " + o.name);
  // A disk that is full to the last block takes no folder; then another one does.
  if (auto made = transfer::make_dirs(o.out); !made && made.err().code != errc::disk_full)
    return made.err();
  // git runs inside the tree: relative names would mean something else there.
  if (!make_absolute(o.out))
    return make_error(errc::bad_argument, "--out must be an absolute path");
  if (!make_absolute(o.tree)) return make_error(errc::not_found, "no folder " + o.tree);
  if (!o.repo.empty() && !make_absolute(o.repo))
    return make_error(errc::bad_argument, "--repo must be an absolute path");
  return diff_where_room_is(o);
}

result<json> answer_diff(const diff_options& options) {
  auto summary = diff_pane(options);
  if (!summary) return summary.err();
  auto text = to_line(transfer::to_json(*summary));
  auto path = options.out + "/" + options.name + ".json";
  if (auto written = transfer::write_file_durably(path, text, 0600); !written) return written.err();
  return transfer::to_json(*summary, {text.size(), transfer::sha256_of(text)});
}

} // namespace skep::guest
