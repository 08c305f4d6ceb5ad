// skep apply: results go into the work tree, or become branches and requests.
#include "tools/skep/apply_results.hpp"
#include "tools/skep/commands.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace skep::cli {

namespace {

struct apply_command : apply_options {
  std::string of;
};

int apply(const app& a, const apply_command& o) {
  if (auto e = check_apply(o)) return fail(a, e);
  auto t = find_results(a, o.of);
  if (!t) return fail(a, t.err());
  auto done = apply_results(a, *t, o);
  if (!done) return fail(a, done.err());
  return tell_applied(a, *done, false);
}

} // namespace

void add_apply(CLI::App& cli, app& a) {
  auto o = std::make_shared<apply_command>();
  auto* c = add_command(
      cli, a, "apply", "Take results over: into the work tree, as branches, as requests",
      "  skep apply sw_x/p0 --check\n  skep apply sw_x/p0\n  skep apply sw_x --mode patch\n"
      "  skep apply sw_x/p0 --mode branch --branch fix/login --message-file message.txt\n"
      "  skep apply sw_x/p0 --mode pr --title \"Fix the login\" --body-file body.md\n\n"
      "files   changed files are written; one that was changed here meanwhile stays, and the\n"
      "        agent's version lies beside it as PATH.skep-PANE\n"
      "patch   the same, merged with what was changed here; everything or nothing\n"
      "branch  a branch on the commit the swarm began with; work tree and index stay as they are\n"
      "pr      the branch is pushed and the command of [forge] in skep.toml is run, once for a\n"
      "        commit: what was asked for is not asked for again when this is repeated\n\n"
      "Exit code: 0 done, also when nothing was changed; 83 conflicts; with branch and pr that of\n"
      "the first pane that something stopped: the others go on.",
      [&a, o] { return apply(a, *o); });
  c->add_option("TARGET", o->of,
                "Swarm, pane (pn_... or SWARM/NAME), or the folder of their results")
      ->required();
  c->add_option("--mode", o->mode, "files, patch, branch or pr")->capture_default_str();
  c->add_option("--repo", o->repo, "Another work tree than the one the swarm began with");
  c->add_flag("--check", o->only_check, "Say what would be done and do nothing");
  c->add_option("--branch", o->branch,
                "Its name (default: skep/SWARM/PANE); with several panes /PANE is added");
  c->add_option("--message-file", o->message_file,
                "One commit with this message (-: standard input) instead of the agent's commits");
  c->add_option("--git-name", o->git_name,
                "Author of the commits (default: SKEP_GIT_NAME, then git's user.name)");
  c->add_option("--git-email", o->git_email, "The author's address");
  c->add_option("--remote", o->remote, "Remote to push to (default: [forge] remote, else origin)");
  c->add_option("--target", o->target,
                "Branch to merge into, for the forge command (default: [forge] target, else main)");
  c->add_option("--title", o->title, "Title of the request");
  c->add_option("--body-file", o->body_file, "Text of the request (-: standard input)");
}

} // namespace skep::cli
