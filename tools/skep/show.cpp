#include "tools/skep/show.hpp"

#include "messages/cost.hpp"
#include "tools/skep/app.hpp"
#include "tools/skep/money.hpp"
#include "tools/skep/term.hpp"
#include "transfer/scan.hpp"

#include <algorithm>
#include <iterator>
#include <set>

namespace skep::cli {

std::string outcome_text(outcome o) {
  auto t = o == outcome::completed                            ? tint::green
           : o == outcome::none                               ? tint::none
           : o == outcome::cancelled || o == outcome::suspect ? tint::yellow
                                                              : tint::red;
  return style(stdout, t, to_string(o));
}

std::string swarm_state_text(const swarm_record& s) {
  return s.state == swarm_phase::closed ? outcome_text(s.result) : std::string{to_string(s.state)};
}

std::string sandbox_state_text(const sandbox_record& s) {
  auto text = s.state != phase::closed
                  ? std::string{to_string(s.state)} + (s.degraded ? " (degraded)" : "")
                  : outcome_text(s.result) + (s.kept ? " (kept)" : "");
  if (s.frozen && s.state != phase::closed) text += " (frozen)";
  if (s.output_incomplete) text += " (output incomplete)";
  return text;
}

std::string pane_state_text(const pane_record& p) {
  auto text =
      p.state == pane_phase::closed ? outcome_text(p.result) : std::string{to_string(p.state)};
  if (p.idle && p.state != pane_phase::closed) text += " (idle)";
  if (p.output_incomplete) text += " (output incomplete)";
  return text;
}

std::string cost_text(double usd) {
  return usd <= 0 ? std::string{"-"} : money_text(usd);
}

utc_time wall_clock() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

std::string loss_text(utc_time last_sync_at, std::size_t paths, std::uint32_t unanswered,
                      double cost_usd) {
  auto synced =
      last_sync_at.time_since_epoch().count() > 0
          ? "what was done since its last sync (" + age_text(last_sync_at) + " ago) is gone"
          : std::string{"nothing had been synced"};
  if (paths > 0) synced += " (" + std::to_string(paths) + " known paths)";
  return synced + ", " + std::to_string(unanswered) + " unanswered prompts, cost "
         + cost_text(cost_usd);
}

namespace {
// "  sb_x -> sb_y: ...", a line for each known path.
std::string replacements_text(const status_reply& s) {
  std::string out;
  for (const auto& r : s.replacements) {
    auto paths = static_cast<std::size_t>(std::count(r.unsynced.begin(), r.unsynced.end(), '\n'));
    out += "  " + r.lost.value + " was lost, " + r.successor.value + " is its successor: "
           + loss_text(r.last_sync_at, paths, r.unanswered, r.cost_usd) + "\n";
    for (std::size_t at = 0; at < r.unsynced.size();) {
      auto end = std::min(r.unsynced.find('\n', at), r.unsynced.size());
      out += "    " + safe_line(r.unsynced.substr(at, end - at), 200) + "\n";
      at = end + 1;
    }
  }
  return out;
}

std::string exit_text(const pane_record& p) {
  if (p.signal != 0) return "signal " + std::to_string(p.signal);
  if (p.state != pane_phase::exited && p.state != pane_phase::closed) return "-";
  return p.exit_code < 0 ? "-" : std::to_string(p.exit_code);
}

std::string span_text(utc_time from, utc_time to) {
  if (from.time_since_epoch().count() == 0 || to < from) return "-";
  return duration_text((to - from).count());
}

// From its beginning on: until its end, or until now while it works.
std::string pane_time(const pane_record& p, utc_time now) {
  if (p.state == pane_phase::closed) return span_text(p.created_at, p.closed_at);
  return p.started_at.time_since_epoch().count() == 0 ? "-" : span_text(p.created_at, now);
}

std::vector<std::string> pane_row(const pane_record& p, utc_time now) {
  auto tokens = p.input_tokens + p.output_tokens;
  return {p.name,
          p.pane.value,
          pane_state_text(p),
          std::to_string(p.attempt),
          exit_text(p),
          pane_time(p, now),
          size_text(p.final_offset),
          cost_text(p.cost_usd),
          tokens == 0 ? "-" : std::to_string(tokens)};
}

std::vector<std::string> pane_head() {
  return {"PANE", "ID", "STATE", "ATTEMPT", "EXIT", "TIME", "LOG", "COST", "TOKENS"};
}

/// Of two lines that tell the same error: without where it happened.
std::string without_place(std::string text) {
  for (std::string_view part : {" | Sandbox: ", " | Step: "})
    if (auto at = text.find(part); at != text.npos)
      text.erase(at, std::min(text.find(" | ", at + 3), text.size()) - at);
  return text;
}

/// Hints name no pane; `which` is what to give instead.
std::string with_pane(std::string text, const std::string& which) {
  constexpr std::string_view open = "`skep logs PANE`";
  if (auto at = text.rfind(open); at != text.npos)
    text.replace(at, open.size(), "`skep logs " + which + "`");
  return text;
}

std::vector<std::vector<std::string>> pane_rows(const status_reply& s) {
  auto panes = s.panes;
  std::sort(panes.begin(), panes.end(), [](auto& a, auto& b) { return a.index < b.index; });
  std::vector<std::vector<std::string>> rows{pane_head()};
  auto now = wall_clock();
  for (const auto& p : panes)
    rows.push_back(pane_row(p, now));
  return rows;
}

/// "  p0: not_found: ..." for everything that has an error. What a sandbox or the swarm has from a
/// part of it is told of that part alone.
std::string errors_text(const status_reply& s) {
  const auto& swarm = s.swarm.swarm.value;
  struct entry {
    std::string who, text, pane; ///< `pane`: what its hint means. No `who`: told by a part.
    bool whole;                  ///< Of a swarm or a sandbox.
  };
  std::vector<entry> list;
  std::string failed; // the pane that hints mean; all of them where several failed
  for (const auto& p : s.panes)
    if (!p.error_code.empty()) failed = failed.empty() ? swarm + "/" + p.name : swarm;
  if (failed.empty()) failed = swarm;
  auto add = [&](const std::string& who, const std::string& code, const std::string& text,
                 const std::string& which, bool whole) {
    if (!code.empty() || !text.empty())
      list.push_back({who, text.empty() ? code : text, which, whole});
  };
  add(swarm, s.swarm.error_code, s.swarm.error_text, failed, true);
  for (const auto& b : s.sandboxes)
    add(b.sandbox.value, b.error_code, b.error_text, failed, true);
  for (const auto& p : s.panes)
    add(p.name, p.error_code, p.error_text, swarm + "/" + p.name, false);
  for (const auto& t : s.transfers)
    add(t.transfer.value, t.error_code, t.error_text, swarm, false);
  std::set<std::string> told;
  for (auto i = list.rbegin(); i != list.rend(); ++i) { // parts come behind what has them
    const bool again = !told.insert(without_place(i->text)).second;
    if (i->whole && again) i->who.clear();
  }
  std::string out;
  for (const auto& e : list)
    if (!e.who.empty())
      out += "  " + e.who + ": " + safe_line(with_pane(e.text, e.pane), 300) + "\n";
  return out;
}

/// A pane's id says nothing that SWARM/NAME does not: it is left out where it would break the
/// lines.
std::string pane_table(const status_reply& s) {
  return fitting_table(pane_rows(s), {"ID"});
}
} // namespace

namespace {

/// The provider's id of a sandbox, and the provider where that is not the run's own.
std::string place_text(const sandbox_record& b, const std::string& usual) {
  auto id = b.remote_id.empty() ? std::string{"-"} : safe_line(b.remote_id, 40);
  return b.provider == usual ? id : id + " at " + safe_line(b.provider, 24);
}

std::string health_word(health_state x) {
  auto t = x == health_state::healthy    ? tint::green
           : x == health_state::degraded ? tint::yellow
                                         : tint::red;
  return style(stdout, t, to_string(x));
}

std::string usage_text(std::uint64_t used, std::uint64_t total) {
  if (used == 0 && total == 0) return "-";
  return size_text(used) + (total > 0 ? " of " + size_text(total) : std::string{});
}

std::string percent_text(const sandbox_health& s) {
  if (s.sampled_at.time_since_epoch().count() == 0) return "-";
  char text[16];
  std::snprintf(text, sizeof text, "%.0f %%", s.usage.cpu_percent);
  return text;
}

/// "working (tool Bash), 12 s"
std::string doing_text(const pane_health& p) {
  std::string out{to_string(p.doing)};
  if (!p.source.empty()) out += " (" + safe_line(p.source, 40) + ")";
  return out;
}

void add_reasons(std::string& out, const std::string& who,
                 const std::vector<std::string>& reasons) {
  for (const auto& r : reasons)
    out += "  " + who + ": " + safe_line(r, 200) + "\n";
}

std::string reasons_text(const health_reply& h, bool with_daemon) {
  std::string out;
  if (with_daemon) add_reasons(out, "skepd", h.daemon.reasons);
  for (const auto& w : h.swarms)
    add_reasons(out, w.swarm.value, w.reasons);
  for (const auto& s : h.sandboxes)
    add_reasons(out, s.sandbox.value, s.reasons);
  for (const auto& p : h.panes)
    add_reasons(out, p.name, p.reasons);
  return out;
}

std::string health_tables(const health_reply& h) {
  std::string out;
  if (!h.sandboxes.empty()) {
    std::vector<std::vector<std::string>> rows{
        {"SANDBOX", "HEALTH", "UP", "CPU", "MEMORY", "DISK", "SAMPLED"}};
    for (const auto& s : h.sandboxes)
      rows.push_back({s.sandbox.value, health_word(s.state), duration_text(s.uptime_ms),
                      percent_text(s), usage_text(s.usage.memory_bytes, s.usage.memory_total_bytes),
                      usage_text(s.usage.disk_bytes, s.usage.disk_total_bytes),
                      age_text(s.sampled_at)});
    out += "\n" + fitting_table(std::move(rows), {"SAMPLED", "UP"});
  }
  if (!h.panes.empty()) {
    std::vector<std::vector<std::string>> rows{
        {"PANE", "HEALTH", "AGENT", "SINCE", "LAST OUTPUT", "UP", "PROMPT"}};
    for (const auto& p : h.panes)
      rows.push_back({p.name, health_word(p.state), doing_text(p), age_text(p.since),
                      age_text(p.last_output_at), duration_text(p.uptime_ms),
                      p.prompt_head.empty() ? "-" : safe_line(p.prompt_head, 80)});
    out += "\n" + fitting_table(std::move(rows), {"SINCE", "UP"});
  }
  return out;
}

} // namespace

std::string health_text(const health_reply& h) {
  std::string out =
      "skepd " + health_word(h.daemon.state) + ", up " + duration_text(h.daemon.uptime_ms) + ", "
      + count_text(h.daemon.open_swarms, "open swarm", "open swarms") + ", "
      + count_text(h.daemon.restarts, "restart", "restarts") + " of actors in 10 min\n";
  if (!h.swarms.empty()) {
    std::vector<std::vector<std::string>> rows{
        {"SWARM", "HEALTH", "UP", "LIMIT", "COST", "WORK TREE"}};
    for (const auto& w : h.swarms)
      rows.push_back({w.swarm.value, health_word(w.state), duration_text(w.uptime_ms),
                      duration_text(w.limit_ms), cost_text(w.cost_usd), safe_line(w.worktree, 60)});
    out += "\n" + fitting_table(std::move(rows), {"LIMIT"});
  }
  out += health_tables(h);
  if (auto reasons = reasons_text(h, true); !reasons.empty()) out += "\nReasons:\n" + reasons;
  return out;
}

std::string status_text(const status_reply& s) {
  const auto& w = s.swarm;
  std::string out = style(stdout, tint::bold, w.swarm.value);
  if (!w.name.empty()) out += " " + safe_line(w.name, 60);
  out += "  " + swarm_state_text(w) + "\n";
  out += "  agent " + std::string{to_string(w.agent)} + ", provider " + safe_line(w.provider)
         + ", repository " + safe_line(w.repo) + "\n";
  out += "  results in " + safe_line(w.out_dir) + "/" + w.swarm.value + "\n";
  auto now = wall_clock();
  out += "  started " + age_text(w.created_at) + " ago, cost "
         + cost_text(cost_usd(w, s.sandboxes, now))
         + (w.budget_usd > 0 ? " of " + money_text(w.budget_usd) : "")
         + (w.pane_budget_usd > 0 ? ", each pane at most " + money_text(w.pane_budget_usd) : "");
  if (!s.health.swarms.empty()) {
    const auto& h = s.health.swarms.front();
    out += ", up " + duration_text(h.uptime_ms) + " of at most " + duration_text(h.limit_ms) + "; "
           + health_word(h.state);
  }
  out += "\n\n";
  std::vector<std::vector<std::string>> boxes{
      {"SANDBOX", "STATE", "SINCE", "COST", "PROVIDER ID", "BASE"}};
  for (const auto& b : s.sandboxes)
    boxes.push_back({b.sandbox.value, sandbox_state_text(b), age_text(b.phase_since),
                     cost_text(cost_usd(b, now)), place_text(b, w.provider),
                     b.base_commit.empty() ? "-" : safe_line(b.base_commit, 12)});
  out += fitting_table(std::move(boxes), {"BASE", "PROVIDER ID"}) + "\n";
  out += pane_table(s);
  out += health_tables(s.health);
  if (!s.transfers.empty()) {
    std::vector<std::vector<std::string>> moves{
        {"TRANSFER", "DIRECTION", "STATE", "FILES", "SIZE"}};
    for (const auto& t : s.transfers)
      moves.push_back({t.transfer.value, std::string{to_string(t.direction)},
                       std::string{to_string(t.state)}, std::to_string(t.files),
                       size_text(t.size_bytes)});
    out += "\n" + fitting_table(std::move(moves), {});
  }
  if (auto reasons = reasons_text(s.health, false); !reasons.empty())
    out += "\nHealth:\n" + reasons;
  if (auto lost = replacements_text(s); !lost.empty()) out += "\nReplaced:\n" + lost;
  if (auto errors = errors_text(s); !errors.empty()) out += "\nErrors:\n" + errors;
  return out;
}

std::string summary_text(const status_reply& s) {
  std::string out = s.panes.empty() ? std::string{"No agent was started.\n"} : pane_table(s);
  if (auto lost = replacements_text(s); !lost.empty()) out += "\nReplaced:\n" + lost;
  if (auto errors = errors_text(s); !errors.empty()) out += "\nErrors:\n" + errors;
  out += "\n" + s.swarm.swarm.value + ": " + outcome_text(s.swarm.result) + " in "
         + span_text(s.swarm.created_at, s.swarm.closed_at) + ", cost "
         + cost_text(cost_usd(s.swarm, s.sandboxes, wall_clock()))
         + "\nResults: " + safe_line(s.swarm.out_dir) + "/" + s.swarm.swarm.value + "\n";
  for (const auto& line : unconfirmed_lines(unconfirmed_of(s.sandboxes)))
    out += "Still there: " + line + "\n";
  return out;
}

std::string collision_text(const collision& x) {
  std::string names;
  for (const auto& p : x.panes)
    names += (names.empty() ? "" : ", ") + p;
  return x.path + " was changed by " + names
         + (x.level == overlap::conflict ? ": their changes do not go together"
                                         : " in the same places");
}

std::string alarm_text(const scan_report& r) {
  return safe_line(transfer::alarm_text(r));
}

std::vector<sandbox_record> kept_of(const std::vector<sandbox_record>& all) {
  std::vector<sandbox_record> out;
  std::copy_if(all.begin(), all.end(), std::back_inserter(out),
               [](const auto& b) { return b.kept && b.state == phase::closed; });
  return out;
}

namespace {
// In the order in which their runs come first.
std::vector<std::vector<const sandbox_record*>> by_run(const std::vector<sandbox_record>& boxes) {
  std::vector<std::vector<const sandbox_record*>> runs;
  for (const auto& b : boxes) {
    auto i = std::find_if(runs.begin(), runs.end(),
                          [&](const auto& r) { return r.front()->swarm == b.swarm; });
    if (i == runs.end()) i = runs.insert(i, std::vector<const sandbox_record*>{});
    i->push_back(&b);
  }
  return runs;
}

// "2 kept sandboxes: sw_x, for at most 55 min more; `skep kill sw_x` ends them"
std::string kept_line(const std::vector<const sandbox_record*>& of_one_run, utc_time now) {
  utc_time end{};
  bool being_killed = true;
  for (const auto* b : of_one_run) {
    end = std::max(end, b->lease_end_at);
    being_killed = being_killed && b->kill_intended;
  }
  const auto& swarm = of_one_run.front()->swarm.value;
  auto out = count_text(of_one_run.size(), "kept sandbox", "kept sandboxes") + ": " + swarm;
  if (being_killed) return out + ", asked to end, which is not confirmed yet";
  out += end > now ? ", for at most " + duration_text((end - now).count()) + " more"
                   : std::string{", past the lease on record: the provider is asked"};
  return out + "; `skep kill " + swarm + "` ends " + (of_one_run.size() == 1 ? "it" : "them");
}
} // namespace

std::vector<std::string> kept_lines(const std::vector<sandbox_record>& kept, utc_time now) {
  std::vector<std::string> out;
  for (const auto& r : by_run(kept))
    out.push_back(kept_line(r, now));
  return out;
}

void add_kept(json& document, const std::vector<sandbox_record>& kept) {
  for (const auto& b : kept)
    document["kept"].push_back(to_json(b));
}

std::vector<sandbox_record> unconfirmed_of(const std::vector<sandbox_record>& all) {
  std::vector<sandbox_record> out;
  std::copy_if(all.begin(), all.end(), std::back_inserter(out), [](const auto& b) {
    return b.state == phase::closed && !b.kept && b.kill_intended && !b.kill_confirmed
           && !b.remote_id.empty();
  });
  return out;
}

std::vector<std::string> unconfirmed_lines(const std::vector<sandbox_record>& unconfirmed) {
  std::vector<std::string> out;
  for (const auto& r : by_run(unconfirmed)) {
    const auto& swarm = r.front()->swarm.value;
    const bool one = r.size() == 1;
    out.push_back(
        count_text(r.size(), "sandbox", "sandboxes") + " of " + swarm + " whose end "
        + (one ? "its provider has" : "their provider has") + " not confirmed: "
        + (one ? "it may cost until its lease ends" : "they may cost until their leases end")
        + "; skepd repeats the kill while it runs (skep status " + swarm + ")");
  }
  return out;
}

void add_unconfirmed(json& document, const std::vector<sandbox_record>& unconfirmed) {
  for (const auto& b : unconfirmed)
    document["unconfirmed"].push_back(to_json(b));
}

int exit_code_of(outcome result, errc why) {
  auto or_else = [&](errc code) { return info(why == errc::none ? code : why).exit_code; };
  switch (result) {
  case outcome::none:
  case outcome::completed:
    return 0;
  case outcome::failed:
    return or_else(errc::agent_failed);
  case outcome::suspect:
    return or_else(errc::suspect_result);
  case outcome::timed_out:
    return info(errc::timed_out).exit_code;
  case outcome::budget:
    return info(errc::budget_spent).exit_code;
  case outcome::cancelled:
    return exit_interrupted;
  case outcome::killed:
    return exit_killed;
  case outcome::lost:
    return or_else(errc::gone);
  }
  return info(errc::internal).exit_code;
}

} // namespace skep::cli
