// Facts of panes.
#include "storage/spend_fold.hpp"

namespace skep::storage::fold {

result<void> fact(const context& c, const pane_created& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.created"); !placed) return placed;
  if (!e.pane.valid()) return make_error(errc::bad_argument, "pane.created without a pane id");
  auto open = c.db.number("SELECT state <> ?2 FROM sandboxes WHERE sandbox = ?1", 0, c.sandbox,
                          phase::closed);
  if (!open) return open.err();
  if (*open == 0) return why_not_sandbox(c, "pane.created");
  auto done = change(c,
                     "INSERT INTO panes (pane, sandbox, swarm, \"index\", name, branch, agent, "
                     "state, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) "
                     "ON CONFLICT (pane) DO NOTHING",
                     e.pane, c.sandbox, c.swarm, e.index, e.name, e.branch, e.agent,
                     pane_phase::queued, c.at);
  if (!done) return done.err();
  if (!*done) return make_error(errc::exists, "pane " + e.pane.value);
  return {};
}

// A daemon that died between the intent and its effect may write the same intent again.
result<void> fact(const context& c, const pane_start_intended& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.start_intended"); !placed) return placed;
  auto done = change(c,
                     "UPDATE panes SET state = ?4, attempt = ?3, pid = 0, exit_code = 0, "
                     "signal = 0, final_offset = 0, idle = 0 WHERE pane = ?1 AND sandbox = ?2 AND "
                     "((state IN (?5, ?6, ?7) AND attempt < ?3) OR (state = ?4 AND attempt = ?3))",
                     e.pane, c.sandbox, e.attempt, pane_phase::starting, pane_phase::queued,
                     pane_phase::restarting, pane_phase::exited);
  if (!done) return done.err();
  if (!*done) return why_not_pane(c, e.pane, "pane.start_intended");
  return {};
}

result<void> fact(const context& c, const pane_started& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.started"); !placed) return placed;
  auto done =
      change(c,
             "UPDATE panes SET state = ?5, pid = ?4, started_at_ms = ?6 WHERE pane = ?1 "
             "AND sandbox = ?2 AND attempt = ?3 AND state = ?7",
             e.pane, c.sandbox, e.attempt, e.pid, pane_phase::running, c.at, pane_phase::starting);
  if (!done) return done.err();
  if (!*done) return why_not_pane(c, e.pane, "pane.started (of this attempt)");
  return {};
}

result<void> fact(const context& c, const pane_exited& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.exited"); !placed) return placed;
  if (auto fits = in_range("pane.exited", {e.final_offset}); !fits) return fits;
  auto done = change(c,
                     "UPDATE panes SET state = ?4, exit_code = ?5, signal = ?6, final_offset = ?7 "
                     "WHERE pane = ?1 AND sandbox = ?2 AND attempt = ?3 AND state IN (?8, ?9)",
                     e.pane, c.sandbox, e.attempt, pane_phase::exited, e.exit_code, e.signal,
                     e.final_offset, pane_phase::starting, pane_phase::running);
  if (!done) return done.err();
  if (!*done) return why_not_pane(c, e.pane, "pane.exited (of this attempt)");
  return {};
}

result<void> fact(const context& c, const pane_restarting& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.restarting"); !placed) return placed;
  auto done = change(c,
                     "UPDATE panes SET state = ?4 WHERE pane = ?1 AND sandbox = ?2 AND "
                     "attempt = ?3 AND state IN (?5, ?6, ?7)",
                     e.pane, c.sandbox, e.attempt, pane_phase::restarting, pane_phase::starting,
                     pane_phase::running, pane_phase::exited);
  if (!done) return done.err();
  if (!*done) return why_not_pane(c, e.pane, "pane.restarting (of this attempt)");
  return {};
}

// The attempt may be later than the one that is known: its start was refused or never written.
result<void> fact(const context& c, const pane_closed& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.closed"); !placed) return placed;
  if (e.result == outcome::none)
    return make_error(errc::bad_argument, "pane.closed without an outcome");
  if (auto fits = in_range("pane.closed", {e.final_offset}); !fits) return fits;
  auto done = change(c,
                     "UPDATE panes SET state = ?4, result = ?5, error_code = ?6, error_text = ?7, "
                     "error_step = ?10, error_message = ?11, error_cause = ?12, "
                     "final_offset = ?8, closed_at_ms = ?9, attempt = ?3, exit_code = CASE WHEN "
                     "state = ?13 AND attempt = ?3 THEN exit_code ELSE -1 END WHERE pane = ?1 AND "
                     "sandbox = ?2 AND attempt <= ?3 AND state <> ?4",
                     e.pane, c.sandbox, e.attempt, pane_phase::closed, e.result, code_of(e.why),
                     text_of(e.why), e.final_offset, c.at, e.why.step, e.why.message, e.why.cause,
                     pane_phase::exited);
  if (!done) return done.err();
  if (!*done) return why_not_pane(c, e.pane, "pane.closed (of this or a later attempt)");
  return {};
}

result<void> fact(const context& c, const pane_usage& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.usage"); !placed) return placed;
  if (auto fits = in_range("pane.usage", {e.input_tokens, e.output_tokens}, e.cost_usd); !fits)
    return fits;
  auto done = change(c,
                     "UPDATE panes SET cost_usd = cost_usd + ?3, input_tokens = input_tokens + ?4, "
                     "output_tokens = output_tokens + ?5, turns = turns + ?6, "
                     "summary = CASE WHEN ?7 = '' THEN summary ELSE ?7 END "
                     "WHERE pane = ?1 AND sandbox = ?2 AND state <> ?8",
                     e.pane, c.sandbox, e.cost_usd, e.input_tokens, e.output_tokens, e.turns,
                     e.summary, pane_phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_pane(c, e.pane, "pane.usage");
  return agents_spent(c, e.cost_usd);
}

// Receipts are found in the journal; here only their place is checked.
result<void> fact(const context& c, const input_receipt& e) {
  if (auto placed = in_sandbox_chunk(c, "pane.input"); !placed) return placed;
  auto open = c.db.number("SELECT 1 FROM panes WHERE pane = ?1 AND sandbox = ?2 AND state <> ?3", 0,
                          e.pane, c.sandbox, pane_phase::closed);
  if (!open) return open.err();
  if (*open == 0) return why_not_pane(c, e.pane, "pane.input");
  return {};
}

namespace {
result<void> set_idle(const context& c, const pane_id& pane, bool idle, std::string_view event) {
  if (auto placed = in_sandbox_chunk(c, event); !placed) return placed;
  auto done =
      change(c, "UPDATE panes SET idle = ?3 WHERE pane = ?1 AND sandbox = ?2 AND state <> ?4", pane,
             c.sandbox, idle, pane_phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_pane(c, pane, event);
  return {};
}
} // namespace

result<void> fact(const context& c, const pane_idle& e) {
  return set_idle(c, e.pane, true, "pane.idle");
}

result<void> fact(const context& c, const pane_active& e) {
  return set_idle(c, e.pane, false, "pane.active");
}

} // namespace skep::storage::fold
