#include "guest/diff.hpp"

#include "guest/git.hpp"
#include "transfer/archive_writer.hpp"
#include "transfer/beneath.hpp"
#include "transfer/sha256.hpp"
#include "transfer/worktree.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {
namespace {

using transfer::diff_summary;
using transfer::split_nul;
using transfer::unique_fd;

// Fixed, whatever diff.* and format.* settings the agent made.
const std::vector<std::string> diff_form{"--binary",        "--full-index",   "-M",
                                         "--no-ext-diff",   "--no-textconv",  "--no-color",
                                         "--src-prefix=a/", "--dst-prefix=b/"};

/// As git quotes names, always.
std::string c_quoted(std::string_view name) {
  std::string out = "\"";
  for (char c : name) {
    auto b = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (b < 0x20 || b >= 0x7F)
      for (char digit : {'\\', static_cast<char>('0' + (b >> 6)),
                         static_cast<char>('0' + ((b >> 3) & 7)), static_cast<char>('0' + (b & 7))})
        out += digit;
    else
      out += c;
  }
  return out + '"';
}

class differ {
public:
  differ(const diff_options& o, std::string scratch)
      : o_(o), g_(o.tree), indexed_(o.tree), scratch_(std::move(scratch)) {
    // An index of our own: no stale lock, no "assume unchanged" bit, no half-done merge has a say.
    indexed_.environment("GIT_INDEX_FILE=" + scratch_ + "/index");
  }

  result<diff_summary> run() {
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
  /// The tree of a commit, or empty.
  std::string id(const std::string& commit) {
    auto tree = g_.line({"rev-parse", "--verify", "-q", commit + "^{tree}"});
    return tree ? *tree : std::string{};
  }

  // -- leftovers
  // ------------------------------------------------------------------------------------

  result<void> commit_leftovers() {
    if (auto read = indexed_.run({"read-tree", out_.head}); !read) return read;
    if (auto found = find_nested(); !found) return found;
    std::vector<std::string> add{"add", "-A", "--", "."};
    for (const auto& n : out_.nested)
      add.push_back(":(exclude,literal,top)" + n);
    if (auto added = indexed_.run(add); !added) return added;
    auto tree = indexed_.line({"write-tree"});
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
    auto text = indexed_.out({"ls-files", "-z", "--others", "--exclude-standard"});
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
    auto text = g_.out({"ls-tree", "-r", "-z", head_tree_});
    if (!text) return text.err();
    std::vector<std::string> inner;
    for (const auto& item : split_nul(*text)) // "160000 commit ID\tPATH"
      if (auto tab = item.find('\t'); item.starts_with("160000 ") && tab != item.npos)
        inner.push_back(item.substr(tab + 1));
    if (inner.empty()) return {};
    if (auto read = indexed_.run({"read-tree", head_tree_}); !read) return read;
    auto strip = indexed_.call({"update-index", "--force-remove", "-z", "--stdin"});
    for (auto& path : inner)
      (strip.stdin_data += path) += '\0';
    if (auto done = transfer::run_for_output(strip); !done) return done.err();
    auto tree = indexed_.line({"write-tree"});
    if (!tree) return tree.err();
    head_tree_ = *tree;
    out_.nested.insert(out_.nested.end(), inner.begin(), inner.end());
    return {};
  }

  // -- summary
  // --------------------------------------------------------------------------------------

  result<void> list_changes() {
    auto count = g_.line({"rev-list", "--count", o_.base + ".." + out_.head});
    if (!count) return count.err();
    if (head_tree_ == base_tree_) return {};
    out_.commits = std::max(1ull, std::strtoull(count->c_str(), nullptr, 10));
    auto text = g_.out({"diff-tree", "-r", "-z", "-M", "--name-status", base_tree_, head_tree_});
    if (!text) return text.err();
    transfer::name_changes found;
    if (!transfer::read_name_status(*text, found))
      return make_error(errc::internal, "git diff-tree printed something else than names");
    out_.modified = std::move(found.modified);
    out_.added = std::move(found.added);
    out_.deleted = std::move(found.deleted);
    out_.renamed = std::move(found.renamed);
    return {};
  }

  // -- patch
  // ----------------------------------------------------------------------------------------

  result<void> write_patch() {
    auto path = o_.out + "/" + o_.name + ".patch";
    bool series = head_tree_ == base_tree_ || is_series();
    if (head_tree_ == base_tree_) {
      if (auto emptied = generate({}, path); !emptied) return emptied;
    } else if (series) {
      // Of a rename git takes the old file from the base, not from the patch before: a file that
      // was changed and then renamed needs the longer form.
      series = write_series(path, "-M") || write_series(path, "--no-renames");
    }
    if (!series) {
      out_.squashed = true;
      // `git apply` cannot read a renamed name that begins or ends with a space.
      auto written = write_one_diff(path, "-M");
      if (!written && written.err().code == errc::verification)
        written = write_one_diff(path, "--no-renames");
      if (!written && written.err().code == errc::verification) written = quote_headers(path);
      if (!written) return written;
    }
    return describe(path, out_.patch_bytes, out_.patch_sha256);
  }

  result<void> write_one_diff(const std::string& path, const std::string& renames) {
    std::vector<std::string> arguments{"diff"};
    arguments.insert(arguments.end(), diff_form.begin(), diff_form.end());
    arguments.insert(arguments.end(), {renames, base_tree_, head_tree_, "--"});
    if (auto done = generate(std::move(arguments), path); !done) return done;
    if (gives_the_tree(path)) return {};
    return make_error(errc::verification, "the patch of " + o_.name + " does not give its tree");
  }

  /// A file without lines (binary, empty, a change of mode alone) has its name in "diff --git a/X
  /// b/X" only, and `git apply` cannot tell where it ends when a folder's name ends with a space.
  /// Quoted it can. `path` is a diff without renames.
  result<void> quote_headers(const std::string& path) {
    auto text =
        g_.out({"diff-tree", "-r", "-z", "--no-renames", "--name-status", base_tree_, head_tree_});
    if (!text) return text.err();
    std::vector<std::string> names; // a change of the type has two headers
    auto items = split_nul(*text);
    for (std::size_t i = 0; i + 1 < items.size(); i += 2)
      names.insert(names.end(), items[i] == "T" ? 2 : 1, items[i + 1]);
    auto quoted = path + ".quoted";
    std::size_t next = 0;
    {
      std::ifstream in{path, std::ios::binary};
      std::ofstream out{quoted, std::ios::binary | std::ios::trunc};
      for (std::string line; std::getline(in, line);) {
        // Lines of files begin with a sign or, encoded, hold no space.
        if (line.starts_with("diff --git ") && next < names.size()) {
          line = "diff --git " + c_quoted("a/" + names[next]) + ' ' + c_quoted("b/" + names[next]);
          ++next;
        }
        out << line << '\n';
      }
      if (!out.flush()) return make_error(errc::io, quoted);
    }
    if (::rename(quoted.c_str(), path.c_str()) != 0) return transfer::io_error(path, errno);
    if (next == names.size() && gives_the_tree(path)) return {};
    return make_error(errc::verification, "the patch of " + o_.name + " does not give its tree");
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
    arguments.insert(arguments.end(), diff_form.begin(), diff_form.end());
    arguments.insert(arguments.end(), {renames, o_.base + ".." + out_.head});
    return generate(std::move(arguments), path).ok() && gives_the_tree(path);
  }

  /// HEAD descends from the base without merges.
  bool is_series() {
    auto descends = g_.test({"merge-base", "--is-ancestor", o_.base, out_.head});
    if (!descends || !*descends) return false;
    auto merges = g_.line({"rev-list", "--count", "--merges", o_.base + ".." + out_.head});
    return merges && *merges == "0";
  }

  /// Runs git with its output in `path`; without arguments the file is made empty.
  result<void> generate(std::vector<std::string> arguments, const std::string& path) {
    unique_fd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!fd) return transfer::io_error(path, errno);
    if (arguments.empty()) return {};
    auto p = g_.call(std::move(arguments));
    p.stdout_fd = fd.get();
    auto ran = transfer::run_for_output(p);
    if (!ran) return ran.err();
    return {};
  }

  bool gives_the_tree(const std::string& patch) {
    if (!indexed_.run({"read-tree", base_tree_})) return false;
    if (!indexed_.run({"-c", "apply.whitespace=nowarn", "-c", "apply.ignoreWhitespace=no", "apply",
                       "--cached", "--whitespace=nowarn", patch}))
      return false;
    auto tree = indexed_.line({"write-tree"});
    return tree && *tree == head_tree_;
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

  /// From the work tree, which is what the commit holds: filters and line ends are off here.
  result<void> write_files() {
    std::vector<std::string> paths = out_.modified;
    paths.insert(paths.end(), out_.added.begin(), out_.added.end());
    for (const auto& [from, to] : out_.renamed)
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
  git g_, indexed_;
  std::string scratch_, base_tree_, head_tree_;
  diff_summary out_;
};

} // namespace

result<diff_summary> diff_pane(const diff_options& given) {
  auto o = given;
  if (!is_object_id(o.base)) return make_error(errc::bad_argument, "not a commit: " + o.base);
  if (!transfer::safe_relative(o.name) || o.name.find('/') != o.name.npos)
    return make_error(errc::bad_argument, "not a pane's name: " + o.name);
  if (auto made = transfer::make_dirs(o.out); !made) return made.err();
  // git runs inside the tree: relative names would mean something else there.
  unique_fd out_dir{::open(o.out.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  std::string absolute(4096, '\0');
  auto n = ::readlink(("/proc/self/fd/" + std::to_string(out_dir.get())).c_str(), absolute.data(),
                      absolute.size());
  if (n > 0)
    o.out = absolute.substr(0, static_cast<std::size_t>(n));
  else if (o.out[0] != '/')
    return make_error(errc::bad_argument, "--out must be an absolute path");
  auto scratch = transfer::temp_dir::make(o.out);
  if (!scratch) return scratch.err();
  return differ{o, scratch->path()}.run();
}

} // namespace skep::guest
