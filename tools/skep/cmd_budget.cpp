// skep budget: what was spent, what may be, and what waits.
#include "messages/cost.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/money.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

namespace skep::cli {

namespace {

std::string scope_text(const budget_line& b) {
  return b.scope == budget_scope::swarm ? b.id : std::string{to_string(b.scope)} + " " + b.id;
}

std::string budgets_table(const budget_reply& r) {
  std::vector<std::vector<std::string>> rows{
      {"BUDGET", "LIMIT", "SPENT", "OF IT MODELS", "RESERVED", "BURN", "SET BY"}};
  for (const auto& b : r.budgets) {
    auto burn = b.usd_per_hour > 0 ? money_text(b.usd_per_hour) + "/h" : "-";
    rows.push_back({scope_text(b), b.limit_usd < 0 ? "-" : money_text(b.limit_usd),
                    money_text(b.spent_usd), money_text(b.model_usd), money_text(b.reserved_usd),
                    burn, b.set_by.empty() ? "-" : b.set_by});
  }
  return table(rows);
}

std::string limits_table(const budget_reply& r) {
  std::vector<std::vector<std::string>> rows{{"PROVIDER", "RULE", "NOW", "LIMIT", "SETTING"}};
  for (const auto& l : r.limits) {
    if (l.limit < 0 && l.count == 0) continue;
    rows.push_back({safe_line(l.provider, 24), l.rule, std::to_string(l.count),
                    l.limit < 0 ? "-" : std::to_string(l.limit), safe_line(l.setting, 60)});
  }
  return rows.size() > 1 ? "\n" + table(rows) : std::string{};
}

/// What a run has cost by its rows: the daemon's list of budgets has only runs that are open.
result<budget_line> closed_run(broker::control_client& daemon, const swarm_id& swarm) {
  auto s = daemon.call(status_request{swarm}, call_deadline);
  if (!s) return s.err();
  budget_line out;
  out.scope = budget_scope::swarm;
  out.id = swarm.value;
  if (s->swarm.budget_usd > 0) {
    out.limit_usd = s->swarm.budget_usd;
    out.set_by = "run";
  }
  out.spent_usd = cost_usd(s->swarm, s->sandboxes, wall_clock());
  out.model_usd = std::max(0.0, s->swarm.cost_usd - s->swarm.time_cost_usd);
  for (const auto& b : s->sandboxes)
    if (is_charged(b)) out.usd_per_hour += b.usd_per_hour; // it was kept
  return out;
}

int show(const app& a, const std::string& name) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  budget_request ask;
  if (!name.empty()) {
    auto swarm = find_swarm(*daemon, name);
    if (!swarm) return fail(a, swarm.err());
    ask.swarm = *swarm;
  }
  auto reply = daemon->call(ask, call_deadline);
  if (!reply) return fail(a, reply.err());
  auto listed = std::any_of(reply->budgets.begin(), reply->budgets.end(),
                            [](const auto& b) { return b.scope == budget_scope::swarm; });
  if (!name.empty() && !listed) {
    auto line = closed_run(*daemon, ask.swarm);
    if (!line) return fail(a, line.err());
    reply->budgets.push_back(std::move(*line));
  }
  if (a.json_mode) {
    print_json(to_json(*reply));
    return 0;
  }
  std::fputs((budgets_table(*reply) + limits_table(*reply) + waiting_text(reply->waiting)).c_str(),
             stdout);
  return 0;
}

struct set_options {
  std::string day, month;
};

/// "none" takes a budget away.
error read_limit(const std::string& text, double& usd) {
  if (text == "none") {
    usd = -1;
    return {};
  }
  return parse_money(text, usd)
             ? error{}
             : make_error(errc::bad_argument,
                          "a budget is a sum such as 20usd or 0.50, or none, not "
                              + text.substr(0, 40));
}

int set(const app& a, const set_options& o) {
  if (o.day.empty() && o.month.empty())
    return fail(a, make_error(errc::bad_argument, "give --day SUM, --month SUM, or both"));
  std::vector<budget_set_request> wishes;
  for (auto [scope, text] :
       {std::pair{budget_scope::day, &o.day}, std::pair{budget_scope::month, &o.month}}) {
    if (text->empty()) continue;
    budget_set_request w;
    w.scope = scope;
    if (auto e = read_limit(*text, w.limit_usd)) return fail(a, e);
    wishes.push_back(w);
  }
  auto paths = made_state(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = ensure_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  budget_set_reply last;
  for (const auto& w : wishes) {
    auto reply = daemon->client.call(w, call_deadline, random_token(20));
    if (!reply) return fail(a, reply.err());
    last = *reply;
    if (!a.json_mode)
      print_line("The budget of a " + std::string{to_string(w.scope)} + " is "
                 + (w.limit_usd < 0 ? std::string{"taken away."}
                                    : money_text(w.limit_usd) + " now, over all swarms (UTC)."));
  }
  if (a.json_mode) print_json(to_json(last));
  return 0;
}

} // namespace

void add_budget(CLI::App& cli, app& a) {
  auto name = std::make_shared<std::string>();
  auto self = std::make_shared<CLI::App*>(nullptr);
  auto* c =
      add_command(cli, a, "budget", "Show what was spent, what may be, and which sandboxes wait",
                  "  skep budget\n  skep budget sw_x --json\n"
                  "  skep budget set --day 20usd --month 300usd\n\n"
                  "A run has a budget of its own: skep run --budget 5usd --pane-budget 1usd",
                  [&a, name, self] { // CLI11 calls it after the one of `set` as well
                    return (*self)->get_subcommands().empty() ? show(a, *name) : a.exit_code;
                  });
  *self = c;
  c->add_option("SWARM", *name, "Id, unique beginning of an id, or name");
  c->require_subcommand(0, 1);
  auto o = std::make_shared<set_options>();
  auto* change = add_command(*c, a, "set", "Set what all swarms together may cost",
                             "  skep budget set --day 20usd\n  skep budget set --month none",
                             [&a, o] { return set(a, *o); });
  change->add_option("--day", o->day, "In a day (UTC): 20usd, 0.50, or none");
  change->add_option("--month", o->month, "In a month (UTC)");
}

} // namespace skep::cli
