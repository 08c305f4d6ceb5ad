// skep ps, skep status: what the state tables say.
#include "messages/cost.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/money.hpp"
#include "tools/skep/results_target.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

namespace skep::cli {

namespace {

/// What waits in line, if the daemon says so; an older one does not.
std::string waiting_now(broker::control_client& daemon, const swarm_id& swarm) {
  auto reply = daemon.call(budget_request{swarm}, call_deadline);
  return reply ? waiting_text(reply->waiting) : std::string{};
}

/// Leaves the swarms that are `wanted`, and what belongs to them.
template <class Wanted>
void leave(list_reply& list, Wanted wanted) {
  std::set<swarm_id> left;
  std::erase_if(list.swarms, [&](const auto& s) {
    if (!wanted(s)) return true;
    left.insert(s.swarm);
    return false;
  });
  auto foreign = [&](const auto& x) { return left.count(x.swarm) == 0; };
  std::erase_if(list.sandboxes, foreign);
  std::erase_if(list.panes, foreign);
}

/// Leaves the swarms of one work tree. not_found when there is no such folder and `list` has no
/// swarm of it either: one that was removed since may still have some.
error leave_repository(list_reply& list, const std::string& repo) {
  std::error_code ignored;
  auto wanted = std::filesystem::weakly_canonical(repo, ignored);
  leave(list, [&](const auto& s) {
    return std::filesystem::weakly_canonical(s.repo, ignored) == wanted;
  });
  const bool gone =
      std::filesystem::status(wanted, ignored).type() == std::filesystem::file_type::not_found;
  if (list.swarms.empty() && gone) return make_error(errc::not_found, "there is no folder " + repo);
  return {};
}

/// The state of a swarm, and how many of its sandboxes stayed.
std::string state_text(const swarm_record& s, const std::vector<sandbox_record>& kept) {
  auto count =
      std::count_if(kept.begin(), kept.end(), [&](const auto& b) { return b.swarm == s.swarm; });
  return swarm_state_text(s) + (count > 0 ? " (" + std::to_string(count) + " kept)" : "");
}

int ps(const app& a, bool all, const std::string& repo) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto list = daemon->call(list_request{all}, call_deadline);
  if (!list) return fail(a, list.err());
  if (!repo.empty())
    if (auto e = leave_repository(*list, repo)) return fail(a, e);
  auto kept = kept_of(list->sandboxes);
  auto unconfirmed = unconfirmed_of(list->sandboxes);
  if (!all) leave(*list, [](const auto& s) { return s.state != swarm_phase::closed; });
  if (a.json_mode) {
    auto document = to_json(*list);
    add_kept(document, kept);
    add_unconfirmed(document, unconfirmed);
    print_json(document);
    return 0;
  }
  auto now = wall_clock();
  auto left = kept_lines(kept, now);
  for (auto& line : unconfirmed_lines(unconfirmed))
    left.push_back(std::move(line));
  if (list->swarms.empty()) {
    print_line(all ? "No swarm yet." : "Nothing runs. (skep ps --all shows closed swarms)");
    for (const auto& line : left)
      print_line(line);
    return 0;
  }
  std::vector<std::vector<std::string>> rows{
      {"SWARM", "NAME", "AGENT", "STATE", "OPEN SB", "OPEN PANES", "COST", "AGE"}};
  for (const auto& s : list->swarms) {
    std::size_t boxes = 0, open_boxes = 0, panes = 0, open_panes = 0;
    for (const auto& b : list->sandboxes) {
      if (b.swarm != s.swarm) continue;
      ++boxes;
      open_boxes += b.state != phase::closed;
    }
    for (const auto& p : list->panes) {
      if (p.swarm != s.swarm) continue;
      ++panes;
      open_panes += p.state != pane_phase::closed;
    }
    rows.push_back({s.swarm.value, s.name.empty() ? "-" : safe_line(s.name, 24),
                    std::string{to_string(s.agent)}, state_text(s, kept),
                    std::to_string(open_boxes) + "/" + std::to_string(boxes),
                    std::to_string(open_panes) + "/" + std::to_string(panes),
                    cost_text(cost_usd(s, list->sandboxes, now)), age_text(s.created_at)});
  }
  std::fputs(fitting_table(std::move(rows), {"AGENT", "OPEN SB", "OPEN PANES"}).c_str(), stdout);
  std::fputs(waiting_now(*daemon, {}).c_str(), stdout);
  if (!left.empty()) print_line("");
  for (const auto& line : left)
    print_line(line);
  return 0;
}

int status(const app& a, const std::string& name) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto swarm = find_swarm(*daemon, name);
  if (!swarm) return fail(a, swarm.err());
  auto reply = daemon->call(status_request{*swarm}, call_deadline);
  if (!reply) return fail(a, reply.err());
  reply->swarm = where_results_are(*paths, std::move(reply->swarm));
  if (a.json_mode) {
    print_json(to_json(*reply));
    return 0;
  }
  look_at_logs(*paths, *reply);
  std::fputs((status_text(*reply) + waiting_now(*daemon, *swarm)).c_str(), stdout);
  return 0;
}

} // namespace

void add_list(CLI::App& cli, app& a) {
  auto all = std::make_shared<bool>(false);
  auto repo = std::make_shared<std::string>();
  auto* list = add_command(cli, a, "ps", "Show running swarms, and sandboxes that stayed",
                           "  skep ps\n  skep ps --all --json\n  skep ps --repo .\n\n"
                           "OPEN SB and OPEN PANES: how many of its sandboxes and panes have not\n"
                           "ended, of how many.",
                           [&a, all, repo] { return ps(a, *all, *repo); });
  list->add_option("--repo", *repo, "Only swarms of this work tree");
  list->add_flag("-a,--all", *all, "Closed swarms too");
  auto name = std::make_shared<std::string>(of_work_tree);
  auto* one =
      add_command(cli, a, "status", "Show one swarm with its sandboxes, panes and transfers",
                  "  skep status\n  skep status sw_x\n  skep status my-run --json",
                  [&a, name] { return status(a, *name); });
  one->add_option("SWARM", *name, or_here(a_swarm));
}

} // namespace skep::cli
