// What `skep apply` says of what it did.
#include "tools/skep/apply_results.hpp"
#include "tools/skep/term.hpp"

namespace skep::cli {
namespace {

void show_paths(const apply_answer& x) {
  std::size_t written = 0, merged = 0, deleted = 0, unchanged = 0;
  std::vector<std::vector<std::string>> rows{{"PANE", "CONFLICT", "WHY", "THE AGENT'S VERSION"}};
  for (const auto& p : x.paths) {
    written += p.became == "written";
    merged += p.became == "merged";
    deleted += p.became == "deleted";
    unchanged += p.became == "unchanged";
    if (p.became == "conflict")
      rows.push_back({safe_line(p.pane), style(stdout, tint::red, safe_line(p.path)),
                      safe_line(p.reason), p.copy.empty() ? "-" : safe_line(p.copy)});
  }
  bool branches = x.mode == "branch" || x.mode == "pr";
  bool nothing = x.only_checked || (x.mode == "patch" && x.conflicts > 0);
  auto count = [&](std::size_t n, const char* what) {
    return n == 0 ? std::string{} : std::to_string(n) + " " + what + ", ";
  };
  auto text = count(written, "written") + count(merged, "merged with changes made here")
              + count(deleted, "deleted") + count(unchanged, "the same already");
  if (text.size() > 2) text.resize(text.size() - 2);
  if (!text.empty() && !(nothing && x.conflicts > 0 && !x.only_checked))
    print_line((x.only_checked ? "Would be: " : "") + text + " in " + safe_line(x.repo));
  if (x.conflicts == 0) return;
  std::fputs(table(rows).c_str(), stdout);
  if (x.mode == "patch" && !x.only_checked) print_line("Nothing was written.");
  if (branches && !x.only_checked) print_line("No branch was made.");
  if (branches)
    print_line("Agents are not given submodules, files that are left out, nor what a sparse "
               "checkout does not hold; a branch keeps these as the commit has them. "
               "`--mode files` puts the results into the work tree instead.");
}

/// One line of a branch, or of what stopped its pane.
void show_branch(const applied_branch& b) {
  if (!b.commit.empty()) {
    auto text = safe_line(b.pane) + ": " + style(stdout, tint::bold, b.branch) + " at "
                + b.commit.substr(0, 12) + ", " + count_text(b.commits, "commit", "commits");
    if (b.snapshot) text += " upon one of what was not committed when the swarm began";
    if (b.was_there) text += ", as before";
    if (!b.remote.empty()) text += ", pushed to " + safe_line(b.remote);
    if (b.request_was_there) text += " and asked for before";
    if (!b.request.empty()) text += ": " + safe_line(b.request);
    if (!b.remote.empty() && !b.requested && !b.problem)
      text += "; no request was made, for [forge] in skep.toml has no command";
    print_line(text);
  }
  if (b.problem)
    remark(style(stderr, tint::red, "skep: ") + safe_line(b.pane + ": " + render(b.problem)));
}

} // namespace

int tell_applied(const app& a, const apply_answer& x, bool wrapped) {
  auto problem = x.first_problem();
  if (x.conflicts > 0) problem = make_error(errc::apply_conflict);
  auto code = problem ? info(problem.code).exit_code : 0;
  if (a.json_mode) {
    auto j = to_json(x);
    if (auto e = x.first_problem()) j.update(error_document(e));
    print_json(wrapped ? json{{"apply", j}} : j);
    return code;
  }
  if (x.paths.empty() && x.branches.empty() && !x.only_checked)
    print_line("Nothing to take over: no file was changed.");
  if (!x.paths.empty()) show_paths(x);
  for (const auto& b : x.branches)
    show_branch(b);
  if (x.only_checked && x.branches.empty() && x.paths.empty())
    print_line("Nothing stands against it.");
  if (x.conflicts > 0) remark(style(stderr, tint::red, "skep: ") + safe_line(render(problem)));
  return code;
}

} // namespace skep::cli
