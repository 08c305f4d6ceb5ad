#include "tools/skep/dry_run.hpp"

#include "actors/agents/adapter.hpp"
#include "actors/run_rules.hpp"
#include "storage/files.hpp"
#include "storage/reader.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/files_view.hpp"
#include "tools/skep/scan_gate.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/state_look.hpp"
#include "tools/skepd/config.hpp"
#include "tools/skepd/limits.hpp"
#include "transfer/scan.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace skep::cli {
namespace {

/// What a run that meets this limit does, when this is what becomes of it.
std::string effect_of(const limit_line& met, const swarm_spec& spec, const error& refused) {
  if (met.limit == 0) return "no run gets through";
  if (actors::passes(met.rule)) return "the others start as these get going";
  if (spec.no_queue)
    return refused ? "the run is refused (--no-queue)" : "dead sandboxes make room for it";
  return met.rule.starts_with("creates_") ? "sandboxes wait for the next window"
                                          : "sandboxes wait for others to end";
}

void add_limits(dry_run_doc& out, const swarm_spec& spec, const plan_reply& plan) {
  for (const auto& l : plan.limits) {
    if (l.limit < 0) continue;
    auto limit = static_cast<double>(l.limit), now = static_cast<double>(l.count);
    if (now + spec.sandboxes <= limit) continue;
    out.limits.push_back({l.rule, limit, now, static_cast<double>(spec.sandboxes),
                          effect_of(l, spec, plan.refused), l.setting});
  }
}

/// True when a budget has no room for one sandbox that needs this much, by ADMISSION's own rule.
bool is_full(const budget_line& b, double reserved_usd) {
  actors::budget_view view;
  view.scope = b.scope;
  view.id = b.id;
  view.limit_usd = b.limit_usd;
  view.spent_usd = b.spent_usd;
  view.reserved_usd = b.reserved_usd;
  return static_cast<bool>(actors::room_for(view, reserved_usd));
}

/// What sandboxes may cost against what days and months have left.
void add_budgets(dry_run_doc& out, const std::vector<budget_line>& lines, double reserved_usd) {
  for (const auto& b : lines) {
    if (b.limit_usd < 0) continue;
    auto now = b.spent_usd + b.reserved_usd;
    auto full = is_full(b, reserved_usd);
    if (!full && now + out.time_usd_at_most <= b.limit_usd) continue;
    out.limits.push_back({std::string{to_string(b.scope)} + " budget", b.limit_usd, now,
                          out.time_usd_at_most,
                          full ? "the run is refused" : "the run is stopped when it is spent",
                          "budget." + std::string{to_string(b.scope)} + "_usd"});
  }
  if (out.budget_usd > 0 && out.time_usd_at_most > out.budget_usd)
    out.limits.push_back({"budget", out.budget_usd, 0, out.time_usd_at_most,
                          "the run is stopped when it is spent", "--budget"});
}

/// The answer of the daemon that runs. Nothing where none does, or one of an older release that
/// does not know the question.
result<std::optional<plan_reply>> ask_daemon(const swarm_spec& spec,
                                             const storage::state_paths& paths) {
  auto daemon = reach_daemon(paths);
  if (!daemon) return std::optional<plan_reply>{};
  auto reply = daemon->call(plan_request{spec}, call_deadline);
  if (reply) return std::optional{std::move(*reply)};
  if (reply.err().code == errc::no_daemon || reply.err().code == errc::unknown_command)
    return std::optional<plan_reply>{};
  return reply.err();
}

/// What counts, as the last daemon left it.
struct last_tables {
  storage::spend_state spend;
  storage::measured_uploads uploads; ///< To the run's provider.
  bool draining = false;             ///< `skep drain` holds for the next daemon, too.
};

/// Nothing where no daemon was, or its tables are not those of this release.
std::optional<last_tables> what_was_left(const storage::state_paths& paths,
                                         const std::string& provider, utc_time now) {
  if (!storage::path_exists(paths.database())) return std::nullopt;
  auto tables = storage::reader::open(paths.database());
  if (!tables) return std::nullopt;
  auto spend = tables->spend(now);
  auto uploads = tables->uploads(provider);
  auto draining = tables->switch_is_on("draining");
  if (!spend || !uploads || !draining) return std::nullopt;
  return last_tables{std::move(*spend), *uploads, *draining};
}

/// The answer that the next daemon would give.
plan_reply answer_here(const swarm_spec& spec, const tools::config& settings,
                       const storage::spend_state& state, utc_time now) {
  auto table = tools::limits_of(settings);
  auto limits = tools::policies_of(settings);
  actors::model_prices models;
  models.asked = !actors::make_adapter(spec.agent)->plan(spec, {}).gateway.empty();
  // Only skep-host's gateway counts.
  models.counted_at = [](const std::string& provider) { return provider == "local"; };
  models.known = tools::priced_models(settings);
  auto dead_make_room = [&](const actors::hold& h) {
    auto holders = actors::holders_of(h, state, spec.provider, spec.repo);
    return std::any_of(holders.begin(), holders.end(),
                       [](const auto* x) { return actors::is_over(*x); });
  };
  return actors::plan_of(spec, {table, limits, state, actors::load_of(state, spec.provider),
                                std::move(models), now, dead_make_room});
}

/// By what former uploads took; nothing is known where there was none.
void add_upload_time(dry_run_doc& out, const plan_reply& plan) {
  if (plan.uploads_measured == 0 || plan.upload_bytes_per_s == 0) return;
  out.uploads_measured = plan.uploads_measured;
  out.upload_bytes_per_s = plan.upload_bytes_per_s;
  out.upload_ms_estimated =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(out.upload.size_bytes) * 1000
                                          / static_cast<double>(plan.upload_bytes_per_s)));
}

/// What the run would be told, by the daemon that runs or in its stead.
result<plan_reply> find_answer(dry_run_doc& out, const swarm_spec& spec,
                               const storage::state_paths& paths, const tools::config& settings) {
  auto told = ask_daemon(spec, paths);
  if (!told) return told.err();
  if (*told) {
    out.counts_known = true;
    return std::move(**told);
  }
  auto now = wall_clock();
  auto left = what_was_left(paths, spec.provider, now);
  out.counts_known = left.has_value();
  out.remarks.emplace_back(
      left ? "skepd does not run, so what counts is what the last one left in its tables"
           : "skepd does not run, so limits are compared with this run alone");
  auto answer = answer_here(spec, settings, left ? left->spend : storage::spend_state{}, now);
  if (left && left->draining) answer.refused = make_error(errc::draining);
  // What keeps a daemon from starting comes before all that one would say.
  if (auto e = start_refused(paths)) answer.refused = e;
  if (left) {
    answer.uploads_measured = left->uploads.count;
    answer.upload_bytes_per_s = left->uploads.bytes_per_s;
  }
  return answer;
}

} // namespace

result<run_plan> plan_run(const swarm_spec& spec, const storage::state_paths& paths,
                          const transfer::inventory& files, const scan_report& scan) {
  auto settings = tools::load_config_of(paths.root);
  if (!settings) return settings.err();
  run_plan plan;
  auto& out = plan.doc;
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
  out.remarks = remarks_on_upload(spec, files);
  auto answer = find_answer(out, spec, paths, *settings);
  if (!answer) return answer.err();
  plan.refused = answer->refused;
  out.remarks.insert(out.remarks.end(), answer->remarks.begin(), answer->remarks.end());
  add_upload_time(out, *answer);
  out.time_limit_ms = answer->limit_ms;
  auto table = tools::limits_of(*settings);
  out.usd_per_hour = table.of(spec.provider).usd_per_hour;
  auto dearest = out.usd_per_hour;
  if (!spec.fallback.empty()) {
    dearest = std::max(dearest, table.of(spec.fallback).usd_per_hour);
    out.remarks.push_back("what " + spec.provider
                          + " refuses for its quota, its rate or want of room is made at "
                          + spec.fallback);
  }
  // Up to the limit: whoever shows it says what comes on top (files_view.cpp).
  out.time_usd_at_most =
      dearest * spec.sandboxes * (static_cast<double>(out.time_limit_ms) / 3'600'000.0);
  out.models_cost = !actors::make_adapter(spec.agent)->plan(spec, {}).needs_secrets.empty();
  out.budget_usd = spec.budget_usd;
  add_limits(out, spec, *answer);
  add_budgets(out, answer->budgets, actors::reserve_of(dearest, tools::policies_of(*settings)));
  plan.unusable = storage::state_refused(paths.root);
  if (plan.unusable) out.problems.push_back(render(plan.unusable));
  if (auto e = transfer::scan_refusal(spec.scan, scan)) out.problems.push_back(render(e));
  // A place that cannot be used is told once, and it alone: whoever would say more never starts.
  if (plan.refused && !plan.unusable) out.problems.push_back(render(plan.refused));
  out.would_start = out.problems.empty();
  return plan;
}

int show_plan(const app& a, const run_plan& plan, const error& by_scan) {
  if (a.json_mode) {
    print_json({{"dry_run", dry_run_json(plan.doc)}});
  } else {
    if (auto text = findings_text(plan.doc.scan, finding_severity::medium); !text.empty())
      std::fputs(text.c_str(), stderr);
    std::fputs(dry_run_text(plan.doc).c_str(), stdout);
  }
  if (plan.doc.would_start) return 0;
  const auto& first = plan.unusable ? plan.unusable : by_scan ? by_scan : plan.refused;
  return info(first.code).exit_code;
}

} // namespace skep::cli
