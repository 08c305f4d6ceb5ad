#include "transfer/tree_diff.hpp"

#include "transfer/git_output.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <fstream>

namespace skep::transfer {
namespace {

// Highest precedence of all attribute sources: whatever .gitattributes says, bytes stay as they
// are, and what is text is shown as text.
constexpr std::string_view own_attributes = "* -text -filter -ident !working-tree-encoding !diff\n";
// No name is refused for the sake of file systems that nobody checks it out on.
constexpr std::string_view own_settings = "[core]\n\tautocrlf = false\n\tsafecrlf = false\n"
                                          "\tfileMode = true\n\tsymlinks = true\n"
                                          "\tignoreCase = false\n\tlooseCompression = 0\n"
                                          "\tprotectNTFS = false\n\tprotectHFS = false\n"
                                          "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

result<void> append_text(const std::string& path, std::string_view text) {
  unique_fd to{::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)};
  if (!to) return io_error(path, errno);
  return write_all(to.get(), text);
}

/// As git quotes names, always.
std::string always_quoted(std::string_view name) {
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

class tree_differ {
public:
  tree_differ(const git_call& git, const std::string& from, const std::string& to,
              const std::string& path)
      : git_(git), from_(from), to_(to), path_(path) {}

  result<void> run() {
    // `git apply` cannot read a renamed name that begins or ends with a space.
    for (const char* renames : {"-M", "--no-renames"}) {
      if (auto done = generate(renames); !done) return done;
      if (gives_tree(git_, from_, to_, path_)) return {};
    }
    if (auto done = quote_headers(); !done) return done;
    if (gives_tree(git_, from_, to_, path_)) return {};
    return no_form();
  }

private:
  static error no_form() {
    return make_error(errc::verification, "git can write no patch that gives these files");
  }

  result<void> generate(const char* renames) {
    std::vector<std::string> arguments{"diff"};
    arguments.insert(arguments.end(), diff_form().begin(), diff_form().end());
    arguments.insert(arguments.end(), {renames, from_, to_, "--"});
    unique_fd fd{::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!fd) return io_error(path_, errno);
    auto p = git_(std::move(arguments));
    p.stdout_fd = fd.get();
    auto ran = run_for_output(p);
    if (!ran) return ran.err();
    return {};
  }

  /// A file without lines (binary, empty, a change of mode alone) has its name in "diff --git a/X
  /// b/X" only, and `git apply` cannot tell where it ends when a folder's name ends with a space.
  /// Quoted it can. What lies at `path_` is a diff without renames.
  result<void> quote_headers() {
    auto text = run_for_output(
        git_({"diff-tree", "-r", "-z", "--no-renames", "--name-status", from_, to_}));
    if (!text) return text.err();
    std::vector<std::string> names; // a change of the type has two headers
    auto items = split_nul(*text);
    for (std::size_t i = 0; i + 1 < items.size(); i += 2)
      names.insert(names.end(), items[i] == "T" ? 2 : 1, items[i + 1]);
    auto quoted = path_ + ".quoted";
    std::size_t next = 0;
    {
      std::ifstream in{path_, std::ios::binary};
      std::ofstream out{quoted, std::ios::binary | std::ios::trunc};
      for (std::string line; std::getline(in, line);) {
        // Lines of files begin with a sign or, encoded, hold no space.
        if (line.starts_with("diff --git ") && next < names.size()) {
          line = "diff --git " + always_quoted("a/" + names[next]) + ' '
                 + always_quoted("b/" + names[next]);
          ++next;
        }
        out << line << '\n';
      }
      if (!out.flush()) return make_error(errc::io, quoted);
    }
    if (::rename(quoted.c_str(), path_.c_str()) != 0) return io_error(path_, errno);
    return next == names.size() ? result<void>{} : result<void>{no_form()};
  }

  const git_call& git_;
  const std::string &from_, &to_, &path_;
};

} // namespace

result<std::string> make_own_repository(const std::string& dir, bool long_ids) {
  program init;
  init.argv = {"git", "init", "-q", "--template="};
  if (long_ids) init.argv.emplace_back("--object-format=sha256");
  init.environment = git_environment();
  init.environment->insert(init.environment->end(),
                           {"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"});
  init.working_dir = dir;
  if (auto done = run_for_output(init); !done) return done.err();
  auto git_dir = dir + "/.git";
  if (auto set = append_text(git_dir + "/config", own_settings); !set) return set.err();
  if (auto made = make_dirs(git_dir + "/info"); !made) return made.err();
  auto written = write_file_durably(git_dir + "/info/attributes", own_attributes, 0600);
  if (!written) return written.err();
  return git_dir;
}

const std::vector<std::string>& diff_form() {
  static const std::vector<std::string> form{"--binary",       "--full-index", "--no-ext-diff",
                                             "--no-textconv",  "--no-color",   "--src-prefix=a/",
                                             "--dst-prefix=b/"};
  return form;
}

bool gives_tree(const git_call& git, const std::string& from, const std::string& to,
                const std::string& patch) {
  if (!run_for_output(git({"read-tree", from}))) return false;
  if (!run_for_output(git({"-c", "apply.whitespace=nowarn", "-c", "apply.ignoreWhitespace=no",
                           "apply", "--cached", "--whitespace=nowarn", "--", patch})))
    return false;
  auto tree = run_for_output(git({"write-tree"}));
  return tree && *tree == to + "\n";
}

result<void> write_tree_diff(const git_call& git, const std::string& from, const std::string& to,
                             const std::string& path) {
  return tree_differ{git, from, to, path}.run();
}

} // namespace skep::transfer
