#include "tools/skep/show.hpp"

#include "tools/skep/app.hpp"
#include "tools/skep/term.hpp"

#include <algorithm>
#include <vector>

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
  if (usd <= 0) return "-";
  char out[32];
  std::snprintf(out, sizeof out, "$%.2f", usd);
  return out;
}

namespace {
std::string exit_text(const pane_record& p) {
  if (p.signal != 0) return "signal " + std::to_string(p.signal);
  if (p.state != pane_phase::exited && p.state != pane_phase::closed) return "-";
  return std::to_string(p.exit_code);
}

std::string span_text(utc_time from, utc_time to) {
  if (from.time_since_epoch().count() == 0 || to < from) return "-";
  return duration_text((to - from).count());
}

std::vector<std::string> pane_row(const pane_record& p) {
  auto tokens = p.input_tokens + p.output_tokens;
  return {p.name,
          p.pane.value,
          pane_state_text(p),
          std::to_string(p.attempt),
          exit_text(p),
          span_text(p.created_at, p.closed_at),
          size_text(p.final_offset),
          cost_text(p.cost_usd),
          tokens == 0 ? "-" : std::to_string(tokens)};
}

std::vector<std::string> pane_head() {
  return {"PANE", "ID", "STATE", "ATTEMPT", "EXIT", "TIME", "LOG", "COST", "TOKENS"};
}

std::vector<std::vector<std::string>> pane_rows(const status_reply& s) {
  auto panes = s.panes;
  std::sort(panes.begin(), panes.end(), [](auto& a, auto& b) { return a.index < b.index; });
  std::vector<std::vector<std::string>> rows{pane_head()};
  for (const auto& p : panes)
    rows.push_back(pane_row(p));
  return rows;
}

/// "  p0: not_found: ..." for everything that has an error.
std::string errors_text(const status_reply& s) {
  std::string out;
  auto add = [&](const std::string& who, const std::string& code, const std::string& text) {
    if (!code.empty() || !text.empty())
      out += "  " + who + ": " + safe_line(text.empty() ? code : text, 300) + "\n";
  };
  add(s.swarm.swarm.value, s.swarm.error_code, s.swarm.error_text);
  for (const auto& b : s.sandboxes)
    add(b.sandbox.value, b.error_code, b.error_text);
  for (const auto& p : s.panes)
    add(p.name, p.error_code, p.error_text);
  for (const auto& t : s.transfers)
    add(t.transfer.value, t.error_code, t.error_text);
  return out;
}
} // namespace

std::string status_text(const status_reply& s) {
  const auto& w = s.swarm;
  std::string out = style(stdout, tint::bold, w.swarm.value);
  if (!w.name.empty()) out += " " + safe_line(w.name, 60);
  out += "  " + swarm_state_text(w) + "\n";
  out += "  agent " + std::string{to_string(w.agent)} + ", provider " + safe_line(w.provider)
         + ", repository " + safe_line(w.repo) + "\n";
  out += "  results in " + safe_line(w.out_dir) + "/" + w.swarm.value + "\n";
  out += "  started " + age_text(w.created_at) + " ago, cost " + cost_text(w.cost_usd) + "\n\n";
  std::vector<std::vector<std::string>> boxes{{"SANDBOX", "STATE", "SINCE", "PROVIDER ID", "BASE"}};
  for (const auto& b : s.sandboxes)
    boxes.push_back({b.sandbox.value, sandbox_state_text(b), age_text(b.phase_since),
                     b.remote_id.empty() ? "-" : safe_line(b.remote_id, 40),
                     b.base_commit.empty() ? "-" : safe_line(b.base_commit, 12)});
  out += table(boxes) + "\n";
  out += table(pane_rows(s));
  if (!s.transfers.empty()) {
    std::vector<std::vector<std::string>> moves{
        {"TRANSFER", "DIRECTION", "STATE", "FILES", "SIZE"}};
    for (const auto& t : s.transfers)
      moves.push_back({t.transfer.value, std::string{to_string(t.direction)},
                       std::string{to_string(t.state)}, std::to_string(t.files),
                       size_text(t.size_bytes)});
    out += "\n" + table(moves);
  }
  if (auto errors = errors_text(s); !errors.empty()) out += "\nErrors:\n" + errors;
  return out;
}

std::string summary_text(const status_reply& s) {
  std::string out = s.panes.empty() ? std::string{"No agent was started.\n"} : table(pane_rows(s));
  if (auto errors = errors_text(s); !errors.empty()) out += "\nErrors:\n" + errors;
  out += "\n" + s.swarm.swarm.value + ": " + outcome_text(s.swarm.result) + " in "
         + span_text(s.swarm.created_at, s.swarm.closed_at) + ", cost "
         + cost_text(s.swarm.cost_usd) + "\nResults: " + safe_line(s.swarm.out_dir) + "/"
         + s.swarm.swarm.value + "\n";
  return out;
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
