#include "transfer/apply_branch.hpp"

#include "transfer/beneath.hpp"
#include "transfer/git_output.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sys/file.h>

namespace skep::transfer {
namespace {

std::string first_header(const std::string& info, const std::string& name) {
  auto at = info.find(name + ": ");
  if (at != 0 && (at == info.npos || info[at - 1] != '\n')) return {};
  at += name.size() + 2;
  return info.substr(at, info.find('\n', at) - at);
}

class branch_maker {
public:
  branch_maker(const std::string& dir, const kept_base& base, const kept_pane& pane,
               const branch_options& o, plumbing git, std::string scratch)
      : dir_(dir), base_(base), pane_(pane), o_(o), git_(std::move(git)),
        scratch_(std::move(scratch)), date_("@" + std::to_string(base.at_ms / 1000) + " +0000") {}

  result<made_branch> run() {
    made_branch out;
    out.branch = o_.branch;
    out.base = base_.head;
    auto started = snapshot();
    if (!started) return started.err();
    out.snapshot = *started != base_.head;
    if (auto done = result_tree(); !done) return done.err();
    auto tip = o_.message.empty() && !pane_.summary.squashed ? series(*started, out.commits)
                                                             : std::string{};
    out.series = !tip.empty();
    if (tip.empty()) {
      auto one = git_.commit(tree_, *started, message(), o_.who, date_, date_);
      if (!one) return one.err();
      tip = *one;
      out.commits = 1;
    }
    out.commit = tip;
    return name_it(std::move(out));
  }

private:
  /// The commit that the pane began with: HEAD of that time, or one upon it.
  result<std::string> snapshot() {
    if (!git_.line({"cat-file", "-e", base_.head + "^{commit}"}))
      return make_error(errc::base_missing, base_.head.substr(0, 12));
    if (auto read = git_.line({"read-tree", base_.head}); !read) return read.err();
    if (base_.dirty.empty() && base_.gone.empty()) {
      start_tree_ = base_.head + "^{tree}";
      return base_.head;
    }
    std::vector<file_entry> dirty;
    for (const auto& path : base_.dirty)
      if (const auto* e = base_.find(path)) dirty.push_back(*e);
    if (auto done = replace(base_.gone, dirty, dir_ + "/base"); !done) return done.err();
    auto tree = git_.line({"write-tree"});
    if (!tree) return tree.err();
    start_tree_ = *tree;
    auto before = git_.line({"rev-parse", base_.head + "^{tree}"});
    if (before && *before == *tree) return base_.head; // touched and not changed
    return git_.commit(*tree, base_.head, "What was not committed when the swarm began\n", o_.who,
                       date_, date_);
  }

  result<void> result_tree() {
    if (auto done = replace(pane_.removed(), pane_.files.files, pane_.files_dir); !done)
      return done;
    auto tree = git_.line({"write-tree"});
    if (!tree) return tree.err();
    tree_ = *tree;
    return {};
  }

  /// In the index: `gone` goes, `entries` come from `dir`. Filters first, by the attributes that
  /// count before any of this.
  result<void> replace(const std::vector<std::string>& gone, const std::vector<file_entry>& entries,
                       const std::string& dir) {
    auto filtered = git_.filter(entries, dir);
    if (!filtered) return filtered.err();
    if (auto done = git_.remove(gone); !done) return done;
    return git_.add(entries, dir, *filtered);
  }

  /// The agent's commits one by one; empty when they do not give exactly the tree.
  std::string series(const std::string& from, std::uint64_t& count) {
    auto mails = scratch_ + "/mails";
    std::error_code failed;
    std::filesystem::create_directory(mails, failed);
    if (!git_.line({"mailsplit", "--keep-cr", "-o" + mails, "--", pane_.patch_path})) return {};
    if (!git_.line({"read-tree", start_tree_})) return {};
    std::vector<std::filesystem::path> files;
    for (std::filesystem::directory_iterator i{mails, failed}, end; !failed && i != end;
         i.increment(failed))
      files.push_back(i->path());
    std::sort(files.begin(), files.end());
    auto tip = from;
    std::string tree;
    for (const auto& mail : files) {
      auto next = one_commit(mail.string(), tip, tree);
      if (next.empty()) return {};
      tip = next;
    }
    count = files.size();
    return tree == tree_ && !files.empty() ? tip : std::string{};
  }

  std::string one_commit(const std::string& mail, const std::string& parent, std::string& tree) {
    auto text = scratch_ + "/message", patch = scratch_ + "/patch";
    auto p = git_.call({"mailinfo", "-b", "--encoding=UTF-8", "--no-scissors", text, patch});
    auto content = read_file(mail);
    if (!content) return {};
    p.stdin_data = std::move(*content);
    auto info = run_for_output(p);
    auto body = read_file(text);
    if (!info || !body) return {};
    std::error_code failed;
    if (std::filesystem::file_size(patch, failed) > 0
        && !git_.line({"apply", "--cached", "--allow-empty", patch}))
      return {};
    auto written = git_.line({"write-tree"});
    if (!written) return {};
    tree = *written;
    auto subject = first_header(*info, "Subject");
    auto message = (subject.empty() ? "Changes of " + pane_.name : subject) + "\n";
    if (!body->empty()) message += "\n" + *body;
    if (message.find('\0') != message.npos) return {};
    auto when = first_header(*info, "Date");
    auto made = git_.commit(tree, parent, message, o_.who, when.empty() ? date_ : when, date_);
    if (!made) made = git_.commit(tree, parent, message, o_.who, date_, date_);
    return made ? *made : std::string{};
  }

  std::string message() const {
    if (!o_.message.empty()) return o_.message;
    return "Changes of " + pane_.name + "\n";
  }

  result<made_branch> name_it(made_branch out) {
    auto ref = "refs/heads/" + out.branch;
    auto now = git_.line({"rev-parse", "--verify", "-q", ref});
    if (now && *now == out.commit) {
      out.was_there = true;
      return out;
    }
    if (now) return make_error(errc::exists, "the branch " + out.branch + ", at another commit");
    auto made = git_.line({"update-ref", "--create-reflog", "-m", "skep apply", ref, out.commit,
                           std::string(out.commit.size(), '0')});
    if (!made) return make_error(errc::exists, "the branch " + out.branch, made.err().cause);
    return out;
  }

  const std::string& dir_;
  const kept_base& base_;
  const kept_pane& pane_;
  const branch_options& o_;
  plumbing git_;
  std::string scratch_, date_, tree_, start_tree_;
};

/// Paths of the commit that never travelled: neither uploaded, nor deleted when the swarm began.
result<std::set<std::string>> withheld_of(const std::string& repo, const kept_base& base) {
  auto there = run_program(git_program(repo, {"cat-file", "-e", base.head + "^{commit}"}));
  if (!there) return there.err();
  if (!there->good()) return make_error(errc::base_missing, base.head.substr(0, 12));
  auto tree = run_for_output(
      git_program(repo, {"ls-tree", "-r", "-z", "--name-only", "--full-tree", base.head}));
  if (!tree) return tree.err();
  std::set<std::string> out;
  for (auto& path : split_nul(*tree))
    if (!base.find(path) && !std::binary_search(base.gone.begin(), base.gone.end(), path))
      out.insert(std::move(path));
  return out;
}

/// The one that a file at `path` would take the place of; empty when there is none.
std::string met_by_file(const std::set<std::string>& withheld, const std::string& path) {
  if (withheld.contains(path)) return path;
  for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
    if (auto above = path.substr(0, slash); withheld.contains(above)) return above;
  auto below = withheld.lower_bound(path + "/");
  return below != withheld.end() && below->starts_with(path + "/") ? *below : std::string{};
}

/// What git does not leave out of a name or address when it writes a commit.
bool carriable(const std::string& text) {
  bool something = false;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '<' || c == '>') return false;
    something = something
                || (c != '.' && c != ' ' && c != ',' && c != ':' && c != ';' && c != '"'
                    && c != '\\' && c != '\'');
  }
  return something && text.size() <= 500;
}

std::string of_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

} // namespace

result<void> check_identity(const git_identity& who) {
  for (const auto* half : {&who.name, &who.email})
    if (!carriable(*half))
      return make_error(errc::bad_argument, "git cannot carry this name or address: " + *half);
  return {};
}

result<git_identity> find_identity(const std::string& repo, const std::string& name,
                                   const std::string& email) {
  git_identity out;
  auto config = [&](const char* key) {
    auto ran = run_program(git_program(repo, {"config", "--get", key}));
    std::string value = ran && ran->good() ? ran->out : "";
    if (value.ends_with('\n')) value.pop_back();
    return value;
  };
  for (auto& [n, e, from] :
       {std::tuple{name, email, "options"},
        {of_environment("SKEP_GIT_NAME"), of_environment("SKEP_GIT_EMAIL"), "environment"},
        {config("user.name"), config("user.email"), "git"}}) {
    if (n.empty() != e.empty()) out.partial = true;
    if (n.empty() || e.empty()) continue;
    out.name = n;
    out.email = e;
    if (auto good = check_identity(out); !good) return good.err();
    out.from = from;
    return out;
  }
  out.name = "Skep";
  out.email = "skep@localhost";
  out.from = "default";
  return out;
}

result<void> check_branch_name(const std::string& name) {
  constexpr std::size_t longest = 200;
  auto bad = [&](const char* why) {
    return make_error(errc::bad_argument,
                      "not a branch name: " + shown_path(name) + " (" + why + ")");
  };
  if (name.empty() || name.size() > longest) return bad("1 to 200 characters");
  bool good = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/'
           || c == '_' || c == '.' || c == '-';
  });
  if (!good) return bad("allowed are A-Z a-z 0-9 / _ . -");
  if (name.front() == '-' || name.front() == '/') return bad("its first character");
  program p;
  p.argv = {"git", "check-ref-format", "refs/heads/" + name};
  p.environment = git_environment();
  auto ran = run_program(p);
  if (!ran) return ran.err();
  if (!ran->good() || name == "HEAD") return bad("git has rules of its own for refs");
  return {};
}

result<std::vector<withheld_path>> withheld_paths(const std::string& repo, const kept_base& base,
                                                  const std::vector<kept_pane>& panes) {
  auto withheld = withheld_of(repo, base);
  if (!withheld) return withheld.err();
  std::vector<withheld_path> out;
  for (const auto& pane : panes) {
    // What was uploaded stands in the tree that the pane began with, so nothing is in its way.
    for (const auto& f : pane.files.files)
      if (!base.find(f.path))
        if (auto met = met_by_file(*withheld, f.path); !met.empty())
          out.push_back({pane.name, f.path, std::move(met), false});
    for (const auto& path : pane.removed())
      if (withheld->contains(path)) out.push_back({pane.name, path, path, true});
  }
  return out;
}

result<unique_fd> hold_results(const std::string& dir) {
  auto folder = open_root(dir);
  if (!folder) return folder.err();
  while (::flock(folder->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return make_error(errc::apply_running, dir);
    break;
  }
  return folder;
}

result<made_branch> make_branch(const std::string& dir, const kept_base& base,
                                const kept_pane& pane, const branch_options& options) {
  if (auto good = check_branch_name(options.branch); !good) return good.err();
  if (auto good = check_kept(pane); !good) return good.err();
  auto git_dir = run_program(git_program(options.repo, {"rev-parse", "--absolute-git-dir"}));
  if (!git_dir) return git_dir.err();
  if (!git_dir->good()) return make_error(errc::not_a_repository, options.repo, git_dir->err);
  if (git_dir->out.ends_with('\n')) git_dir->out.pop_back();
  auto met = withheld_paths(options.repo, base, {pane});
  if (!met) return met.err();
  if (!met->empty())
    return make_error(errc::apply_conflict,
                      shown_path(met->front().path) + " of " + pane.name + " meets "
                          + shown_path(met->front().withheld)
                          + ", which is in the commit and was never given to the swarm");
  auto scratch = temp_dir::make();
  if (!scratch) return scratch.err();
  // The folder may be missing when nothing was dirty.
  std::error_code ignored;
  auto absolute = std::filesystem::absolute(dir, ignored).string();
  auto p = pane;
  p.files_dir = std::filesystem::absolute(pane.files_dir, ignored).string();
  p.patch_path = std::filesystem::absolute(pane.patch_path, ignored).string();
  auto repo = std::filesystem::absolute(options.repo, ignored).string();
  return branch_maker{
      absolute, base, p, options, plumbing{git_dir->out, repo, scratch->path()}, scratch->path()}
      .run();
}

} // namespace skep::transfer
