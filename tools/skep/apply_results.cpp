#include "tools/skep/apply_results.hpp"

#include "storage/secrets.hpp"
#include "tools/skep/asked_requests.hpp"
#include "tools/skep/term.hpp"
#include "tools/skep/upload_rules.hpp"
#include "tools/skepd/config.hpp"
#include "transfer/apply.hpp"
#include "transfer/apply_branch.hpp"
#include "transfer/forge.hpp"

#include <algorithm>
#include <filesystem>
#include <unistd.h>

namespace skep::cli {
namespace {

constexpr std::size_t max_text_bytes = 256 * 1024; // of a commit message or a body

/// A file, or standard input for "-".
result<std::string> text_of(const std::string& file) {
  auto text = transfer::read_file(file == "-" ? "/dev/stdin" : file, max_text_bytes);
  if (!text) return text.err();
  if (text->find('\0') != text->npos)
    return make_error(errc::bad_argument, file + " holds a NUL character");
  return text;
}

bool blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

/// The top of the work tree that results go into.
result<std::string> work_tree(const apply_options& o, const transfer::kept_base& base) {
  auto repo = o.repo.empty() ? base.repo : o.repo;
  auto top = transfer::run_program(transfer::git_program(repo, {"rev-parse", "--show-toplevel"}));
  if (!top) return top.err();
  if (!top->good()) return make_error(errc::not_a_repository, repo, top->err);
  if (top->out.ends_with('\n')) top->out.pop_back();
  return top->out;
}

/// [forge] with what the options say instead, and its token.
struct ready_forge {
  tools::forge_entry how;
  std::string token;
};

result<ready_forge> look_at_forge(const app& a, const std::string& repo, const apply_options& o) {
  auto paths = state_of(a);
  if (!paths) return paths.err();
  auto settings = tools::load_config_of(paths->root);
  if (!settings) return settings.err();
  ready_forge out;
  out.how = settings->forge;
  if (!o.remote.empty()) out.how.remote = o.remote;
  if (!o.target.empty()) out.how.target = o.target;
  if (auto good = transfer::check_branch_name(out.how.target); !good) return good.err();
  if (auto good = transfer::check_remote(repo, out.how.remote); !good) return good.err();
  if (!out.how.command.empty())
    if (auto argv = transfer::forge_argv({out.how.command, {}, {}, {}, {}, {}, {}, {}, {}}); !argv)
      return argv.err();
  if (out.how.token_secret.empty()) return out;
  auto value = storage::secret_store{*paths}.get(out.how.token_secret);
  if (!value) return value.err();
  out.token = *value;
  return out;
}

class applying {
public:
  applying(const app& a, const results_target& t, const apply_options& o,
           const transfer::kept_base& base, std::string repo)
      : app_(a), t_(t), o_(o), base_(base) {
    out_.folder = t.folder;
    out_.repo = std::move(repo);
    out_.mode = o.mode;
    out_.only_checked = o.only_check;
    for (const auto& p : t.panes)
      (p.summary.empty() ? void(out_.empty.push_back(p.name)) : changed_.push_back(p));
  }

  result<apply_answer> run() {
    if (changed_.empty()) return out_;
    auto done = o_.mode == "files" || o_.mode == "patch" ? into_tree() : into_branches();
    if (!done) return done.err();
    return out_;
  }

private:
  result<void> into_tree() {
    transfer::take_options how;
    how.root = out_.repo;
    how.mode = o_.mode == "files" ? transfer::take_mode::files : transfer::take_mode::patch;
    how.check_only = o_.only_check;
    auto report = transfer::take_over(t_.folder, base_, changed_, how);
    if (!report) return report.err();
    using transfer::shown_path;
    for (const auto& p : report->paths)
      out_.paths.push_back({p.pane, shown_path(p.path), std::string{to_string(p.became)},
                            shown_path(p.copy), p.reason});
    out_.conflicts = report->count(transfer::taken_path::what::conflict);
    return {};
  }

  std::string branch_of(const transfer::kept_pane& p) const {
    auto all = o_.branch.empty() ? "skep/" + t_.label() : o_.branch;
    return changed_.size() == 1 && !o_.branch.empty() ? all : all + "/" + p.name;
  }

  result<void> into_branches() {
    auto who = transfer::find_identity(out_.repo, o_.git_name, o_.git_email);
    if (!who) return who.err();
    if (who->partial && !app_.json_mode)
      remark("Note: a name without an address (or the other way round) was passed over; commits "
             "are by "
             + safe_line(who->name + " <" + who->email + ">"));
    transfer::branch_options how{out_.repo, {}, {}, *who};
    if (!o_.message_file.empty()) {
      auto text = text_of(o_.message_file);
      if (!text) return text.err();
      if (blank(*text)) return make_error(errc::bad_argument, "the commit message is empty");
      how.message = *text;
    }
    // All that can be refused is refused before the first branch is made.
    for (const auto& p : changed_)
      if (auto good = transfer::check_branch_name(branch_of(p)); !good) return good;
    if (o_.mode == "pr")
      if (auto ready = prepare_forge(); !ready) return ready;
    if (auto looked = look_for_withheld(); !looked) return looked;
    if (o_.only_check || out_.conflicts > 0) return {};
    auto held = transfer::hold_results(t_.folder);
    if (!held) return held.err();
    // From here on, what stops one pane stops no other.
    for (const auto& p : changed_) {
      how.branch = branch_of(p);
      out_.branches.push_back(make(p, how));
    }
    if (o_.mode != "pr") return {};
    for (std::size_t i = 0; i < changed_.size(); ++i) {
      auto& b = out_.branches[i];
      if (b.problem) continue;
      if (auto sent = publish(changed_[i], b); !sent) b.problem = sent.err();
    }
    return {};
  }

  /// Results that meet what the commit holds and no sandbox was given are conflicts.
  result<void> look_for_withheld() {
    auto met = transfer::withheld_paths(out_.repo, base_, changed_);
    if (!met) return met.err();
    using transfer::shown_path;
    for (const auto& x : *met) {
      auto what = x.withheld == x.path ? "it" : shown_path(x.withheld);
      auto pane = std::find_if(changed_.begin(), changed_.end(),
                               [&](const auto& p) { return p.name == x.pane; });
      out_.paths.push_back({x.pane, shown_path(x.path), "conflict",
                            x.removed ? "" : shown_path(pane->files_dir + "/" + x.path),
                            what + " is in the commit, and was never given to the swarm"});
    }
    out_.conflicts = met->size();
    return {};
  }

  applied_branch make(const transfer::kept_pane& p, const transfer::branch_options& how) {
    applied_branch out;
    out.pane = p.name;
    out.branch = how.branch;
    auto made = transfer::make_branch(t_.folder, base_, p, how);
    if (!made) {
      out.problem = made.err();
      return out;
    }
    out.base = made->base;
    out.commit = made->commit;
    out.commits = made->commits;
    out.snapshot = made->snapshot;
    out.agents_commits = made->series;
    out.was_there = made->was_there;
    return out;
  }

  result<void> prepare_forge() {
    auto ready = look_at_forge(app_, out_.repo, o_);
    if (!ready) return ready.err();
    forge_ = std::move(ready->how);
    token_ = std::move(ready->token);
    if (!o_.body_file.empty()) {
      auto text = text_of(o_.body_file);
      if (!text) return text.err();
      body_ = *text;
    }
    return {};
  }

  /// Pushes the branch and asks for its request, unless both were done for this very commit before:
  /// by now people may have put commits of their own upon it there, or merged it and removed it.
  result<void> publish(const transfer::kept_pane& p, applied_branch& b) {
    if (forge_.command.empty()) return push(b);
    auto record = asked_requests::read(t_.folder + "/" + p.name);
    if (!record) return record.err();
    using transfer::shown_path;
    asked_request wanted;
    wanted.repo = shown_path(out_.repo);
    wanted.remote = shown_path(forge_.remote);
    wanted.branch = b.branch;
    wanted.commit = b.commit;
    wanted.target = forge_.target;
    const auto* known = record->find(wanted);
    if (known && known->answered) {
      b.remote = forge_.remote;
      b.request = known->answer;
      b.requested = b.request_was_there = true;
      return {};
    }
    bool may_exist = known != nullptr;
    if (auto pushed = push(b); !pushed) return pushed;
    if (auto kept = record->keep(wanted); !kept) return kept;
    auto answer = ask(p, b);
    if (!answer) {
      auto e = answer.err();
      if (may_exist)
        e.message += "; it was asked before and no answer was kept, so the request may exist";
      return e;
    }
    b.request = *answer;
    b.requested = true;
    wanted.answered = true;
    wanted.answer = *answer;
    return record->keep(wanted);
  }

  result<void> push(applied_branch& b) {
    auto pushed = transfer::push_branch({out_.repo, forge_.remote, b.branch, token_});
    if (pushed) b.remote = forge_.remote;
    return pushed;
  }

  result<std::string> ask(const transfer::kept_pane& p, const applied_branch& b) {
    auto folder = transfer::temp_dir::make();
    if (!folder) return folder.err();
    auto body_file = folder->path() + "/body.md";
    auto written =
        transfer::write_file_durably(body_file, o_.body_file.empty() ? own_body(p) : body_, 0600);
    if (!written) return written.err();
    auto title = o_.title.empty() ? "Changes of " + p.name + " (" + t_.label() + ")" : o_.title;
    return transfer::ask_forge({forge_.command, out_.repo, b.branch, forge_.target, title,
                                body_file, forge_.remote, token_, forge_.token_variable});
  }

  /// Markdown; names stand in code, so that nothing in them is markup.
  std::string own_body(const transfer::kept_pane& p) const {
    constexpr std::size_t most = 200;
    std::string out = "Made by agent `" + p.name + "` of swarm `" + t_.label() + "`.\n\n";
    std::size_t shown = 0, all = 0;
    auto add = [&](const char* what, const std::string& path) {
      if (++all > most) return;
      ++shown;
      auto text = safe_line(transfer::shown_path(path));
      for (auto& c : text)
        if (c == '`') c = '\'';
      out += std::string{"- "} + what + " `" + text + "`\n";
    };
    for (const auto& x : p.summary.modified)
      add("modified", x);
    for (const auto& x : p.summary.added)
      add("added", x);
    for (const auto& x : p.summary.deleted)
      add("deleted", x);
    for (const auto& [from, to] : p.summary.renamed)
      add("renamed to", to);
    for (const auto& [from, to] : p.summary.copied)
      add("copied to", to);
    if (all > shown) out += "- and " + std::to_string(all - shown) + " more\n";
    return out;
  }

  const app& app_;
  const results_target& t_;
  const apply_options& o_;
  const transfer::kept_base& base_;
  std::vector<transfer::kept_pane> changed_;
  tools::forge_entry forge_;
  std::string token_, body_;
  apply_answer out_;
};

/// What can be seen to be no name is refused before anybody is asked about the results.
error check_names(const apply_options& o) {
  for (const auto* branch : {&o.branch, &o.target})
    if (!branch->empty())
      if (auto good = transfer::check_branch_name(*branch); !good) return good.err();
  if (!o.remote.empty())
    if (auto good = transfer::check_remote_name(o.remote); !good) return good.err();
  if (o.git_name.empty()) return {};
  transfer::git_identity who;
  who.name = o.git_name;
  who.email = o.git_email;
  auto good = transfer::check_identity(who);
  return good ? error{} : good.err();
}

} // namespace

error check_apply(const apply_options& o) {
  bool branch = o.mode == "branch" || o.mode == "pr";
  if (!branch && o.mode != "files" && o.mode != "patch")
    return make_error(errc::bad_argument, "the mode is files, patch, branch or pr, not " + o.mode);
  auto only = [](const char* option, const char* mode) {
    return make_error(errc::bad_argument, std::string{option} + " goes with --mode " + mode);
  };
  if (!branch && !o.branch.empty()) return only("--branch", "branch or pr");
  if (!branch && !o.message_file.empty()) return only("--message-file", "branch or pr");
  if (!branch && !(o.git_name.empty() && o.git_email.empty()))
    return only("--git-name and --git-email", "branch or pr");
  if (o.mode != "pr"
      && !(o.remote.empty() && o.target.empty() && o.title.empty() && o.body_file.empty()))
    return only("--remote, --target, --title and --body-file", "pr");
  if (o.git_name.empty() != o.git_email.empty())
    return make_error(errc::bad_argument, "--git-name and --git-email go together");
  if (o.message_file == "-" && o.body_file == "-")
    return make_error(errc::bad_argument, "only one of the files can be standard input");
  for (char c : o.title)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      return make_error(errc::bad_argument, "a title is one line without control characters");
  if (o.title.starts_with('-'))
    return make_error(errc::bad_argument, "a title does not begin with -");
  return check_names(o);
}

error check_forge(const app& a, const std::string& repo, const apply_options& o) {
  auto ready = look_at_forge(a, repo, o);
  return ready ? error{} : ready.err();
}

result<apply_answer> apply_results(const app& a, const results_target& t, const apply_options& o) {
  if (auto e = check_apply(o)) return e;
  auto base = transfer::read_base(t.folder);
  if (!base) return base.err();
  auto repo = work_tree(o, *base);
  if (!repo) return repo.err();
  for (const auto& text : remarks_on_upload_rules(t.panes)) // before anything is written
    remark(text);
  return applying{a, t, o, *base, *repo}.run();
}

} // namespace skep::cli
