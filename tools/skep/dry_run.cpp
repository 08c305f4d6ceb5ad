#include "tools/skep/dry_run.hpp"

#include "actors/agents/adapter.hpp"
#include "messages/cost.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/files_view.hpp"
#include "tools/skep/scan_gate.hpp"
#include "tools/skep/show.hpp"
#include "tools/skepd/config.hpp"
#include "tools/skepd/limits.hpp"
#include "transfer/scan.hpp"

namespace skep::cli {
namespace {

/// What a run that meets this limit does.
std::string effect_of(const swarm_spec& spec, const std::string& rule) {
  if (spec.no_queue) return "the run is refused (--no-queue)";
  return rule.starts_with("creates_") ? "sandboxes wait for the next window"
                                      : "sandboxes wait for others to end";
}

void add_limits(dry_run_doc& out, const swarm_spec& spec, const std::vector<limit_line>& lines) {
  for (const auto& l : lines) {
    if (l.provider != spec.provider || l.limit < 0) continue;
    auto limit = static_cast<double>(l.limit), now = static_cast<double>(l.count);
    if (now + spec.sandboxes <= limit) continue;
    out.limits.push_back({l.rule, limit, now, static_cast<double>(spec.sandboxes),
                          effect_of(spec, l.rule), l.setting});
  }
}

/// What sandboxes may cost against what days and months have left.
void add_budgets(dry_run_doc& out, const std::vector<budget_line>& lines) {
  for (const auto& b : lines) {
    if (b.scope == budget_scope::swarm || b.limit_usd < 0) continue;
    auto now = b.spent_usd + b.reserved_usd;
    if (now + out.time_usd_at_most <= b.limit_usd) continue;
    out.limits.push_back({std::string{to_string(b.scope)} + " budget", b.limit_usd, now,
                          out.time_usd_at_most, "the run is stopped when it is spent",
                          "budget." + std::string{to_string(b.scope)} + "_usd"});
  }
  if (out.budget_usd > 0 && out.time_usd_at_most > out.budget_usd)
    out.limits.push_back({"budget", out.budget_usd, 0, out.time_usd_at_most,
                          "the run is stopped when it is spent", "--budget"});
}

} // namespace

result<dry_run_doc> plan_run(const swarm_spec& spec, const storage::state_paths& paths,
                             const transfer::inventory& files, const scan_report& scan) {
  auto settings = tools::load_config(tools::default_config_file(paths.root), false);
  if (!settings) return settings.err();
  auto table = tools::limits_of(*settings);
  const auto& rules = table.of(spec.provider);
  dry_run_doc out;
  out.repo = spec.repo;
  out.provider = spec.provider;
  out.agent = spec.agent;
  out.sandboxes = spec.sandboxes;
  out.panes = spec.panes;
  auto upload = files_doc_of(spec.repo, files);
  if (!upload) return upload.err();
  out.upload = std::move(*upload);
  out.policy = spec.scan;
  out.scan = scan;
  out.time_limit_ms = spec.limit_ms;
  out.usd_per_hour = rules.usd_per_hour;
  out.time_usd_at_most =
      rules.usd_per_hour * spec.sandboxes * (static_cast<double>(spec.limit_ms) / 3'600'000.0);
  out.models_cost = !actors::make_adapter(spec.agent)->plan(spec, {}).needs_secrets.empty();
  out.budget_usd = spec.budget_usd;
  out.remarks = remarks_on_upload(spec, files);
  std::vector<limit_line> limits;
  std::vector<budget_line> budgets;
  if (auto daemon = reach_daemon(paths)) {
    auto reply = daemon->call(budget_request{}, call_deadline);
    if (!reply) return reply.err();
    limits = std::move(reply->limits);
    budgets = std::move(reply->budgets);
    out.counts_known = true;
    auto status = daemon->call(daemon_status_request{}, call_deadline);
    if (status && status->draining) out.problems.push_back(render(make_error(errc::draining)));
  } else {
    out.remarks.emplace_back("skepd does not run, so limits are compared with this run alone");
    limits = actors::limit_lines(spec.provider, rules, {}, wall_clock());
    for (auto [scope, usd] : {std::pair{budget_scope::day, table.day_usd},
                              std::pair{budget_scope::month, table.month_usd}})
      if (usd) {
        budget_line b;
        b.scope = scope;
        b.limit_usd = *usd;
        budgets.push_back(std::move(b));
      }
  }
  add_limits(out, spec, limits);
  add_budgets(out, budgets);
  if (auto e = actors::never_fits(rules, spec, 0)) out.problems.push_back(render(e));
  if (spec.no_queue && !out.limits.empty() && out.counts_known)
    for (const auto& b : out.limits)
      if (b.setting.find("budget") == std::string::npos)
        out.problems.push_back(b.rule + " would refuse the run (--no-queue)");
  if (auto e = transfer::scan_refusal(spec.scan, scan)) out.problems.push_back(render(e));
  out.would_start = out.problems.empty();
  return out;
}

int show_plan(const app& a, const dry_run_doc& plan, const error& refused) {
  if (a.json_mode) {
    print_json({{"dry_run", to_json(plan)}});
  } else {
    if (auto text = findings_text(plan.scan, finding_severity::medium); !text.empty())
      std::fputs(text.c_str(), stderr);
    std::fputs(dry_run_text(plan).c_str(), stdout);
  }
  if (plan.would_start) return 0;
  return info(refused ? refused.code : errc::never_fits).exit_code;
}

} // namespace skep::cli
