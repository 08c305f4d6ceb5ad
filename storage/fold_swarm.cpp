// Facts of the daemon, of commands and of swarms.
#include "storage/fold.hpp"

namespace skep::storage::fold {

result<void> fact(const context& c, const daemon_started& e) {
  if (auto placed = in_daemon_chunk(c, "daemon.started"); !placed) return placed;
  if (auto fits = in_range("daemon.started", {e.epoch}); !fits) return fits;
  auto newest = c.db.number("SELECT max(epoch) FROM epochs", 0);
  if (!newest) return newest.err();
  if (e.epoch <= static_cast<std::uint64_t>(*newest))
    return make_error(errc::stale_epoch,
                      "epoch " + std::to_string(e.epoch) + " after " + std::to_string(*newest));
  return c.db.run("INSERT INTO epochs (epoch, version, pid, started_at_ms) VALUES (?1, ?2, ?3, ?4)",
                  e.epoch, e.version, e.pid, c.at);
}

result<void> fact(const context& c, const daemon_stopping& e) {
  if (auto placed = in_daemon_chunk(c, "daemon.stopping"); !placed) return placed;
  auto done = change(c,
                     "UPDATE epochs SET stopped_at_ms = ?2, stop_reason = ?3 "
                     "WHERE epoch = ?1 AND stopped_at_ms = 0",
                     e.epoch, c.at, e.reason);
  if (!done) return done.err();
  if (!*done)
    return make_error(errc::stale_epoch, "no epoch " + std::to_string(e.epoch) + " is running");
  return {};
}

result<void> fact(const context& c, const command_accepted& e) {
  if (e.key.empty() || e.key.size() > 64)
    return make_error(errc::bad_argument, "an idempotency key has 1 to 64 characters");
  if (auto done = c.db.run("DELETE FROM commands WHERE expires_at_ms <= ?1", c.at); !done)
    return done;
  auto done = change(c,
                     "INSERT INTO commands (key, command, fingerprint, reply, accepted_at_ms, "
                     "expires_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (key) DO NOTHING",
                     e.key, e.command, e.fingerprint, e.reply, c.at, e.expires_at);
  if (!done) return done.err();
  if (!*done) return make_error(errc::key_reused, e.key);
  return {};
}

result<void> fact(const context& c, const daemon_draining& e) {
  if (auto placed = in_daemon_chunk(c, "daemon.draining"); !placed) return placed;
  return c.db.run("INSERT INTO switches (name, state, reason, changed_at_ms) "
                  "VALUES ('draining', ?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET "
                  "state = ?1, reason = ?2, changed_at_ms = ?3",
                  e.on, e.reason, c.at);
}

// These five are found in the journal and in the audit log; here only their place is checked.
result<void> fact(const context& c, const command_asked&) {
  return in_daemon_chunk(c, "command.asked");
}

result<void> fact(const context& c, const audit_repaired&) {
  return in_daemon_chunk(c, "audit.repaired");
}

result<void> fact(const context& c, const done_outside&) {
  return in_daemon_chunk(c, "daemon.done_outside");
}

result<void> fact(const context& c, const swarm_scanned&) {
  return in_swarm_chunk(c, "swarm.scanned");
}

result<void> fact(const context& c, const results_scanned&) {
  return in_sandbox_chunk(c, "transfer.results_scanned");
}

result<void> fact(const context& c, const swarm_created& e) {
  if (auto placed = in_swarm_chunk(c, "swarm.created"); !placed) return placed;
  for (auto usd : {e.budget_usd, e.pane_budget_usd})
    if (auto fits = in_range("swarm.created", {}, usd); !fits) return fits;
  auto done = change(c,
                     "INSERT INTO swarms (swarm, name, repo, provider, agent, sandboxes, panes, "
                     "keep, out_dir, state, created_at_ms, spec, budget_usd, pane_budget_usd) "
                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) "
                     "ON CONFLICT (swarm) DO NOTHING",
                     c.swarm, e.name, e.repo, e.provider, e.agent, e.sandboxes, e.panes, e.keep,
                     e.out_dir, swarm_phase::queued, c.at, e.spec, e.budget_usd, e.pane_budget_usd);
  if (!done) return done.err();
  if (!*done) return make_error(errc::exists, "swarm " + c.swarm.value);
  return {};
}

// A run that stops may get another reason to: a kill after a stop.
result<void> fact(const context& c, const swarm_phase_changed& e) {
  if (auto placed = in_swarm_chunk(c, "swarm.phase_changed"); !placed) return placed;
  auto done = change(c,
                     "UPDATE swarms SET state = ?2, stop_reason = CASE WHEN ?2 = ?4 THEN ?5 ELSE "
                     "stop_reason END WHERE swarm = ?1 AND ?2 <> ?3 AND (state < ?2 OR (state = ?4 "
                     "AND ?2 = ?4 AND stop_reason <> ?5))",
                     c.swarm, e.to, swarm_phase::closed, swarm_phase::stopping, e.reason);
  if (!done) return done.err();
  if (!*done) return why_not_swarm(c, "swarm.phase_changed");
  return {};
}

// Thresholds only grow, so that none is told twice whatever a daemon forgets.
result<void> fact(const context& c, const time_warning& e) {
  if (auto placed = in_swarm_chunk(c, "swarm.time_warning"); !placed) return placed;
  auto done = change(c,
                     "UPDATE swarms SET warned_ms = ?2 WHERE swarm = ?1 AND state <> ?3 AND "
                     "warned_ms < ?2",
                     c.swarm, e.threshold_ms, swarm_phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_swarm(c, "swarm.time_warning (of a later threshold)");
  return {};
}

result<void> fact(const context& c, const sandbox_replaced& e) {
  if (auto placed = in_swarm_chunk(c, "swarm.sandbox_replaced"); !placed) return placed;
  if (auto fits = in_range("swarm.sandbox_replaced", {e.output_bytes}, e.cost_usd); !fits)
    return fits;
  if (e.number == 0 || e.successor.empty() || e.successor == e.lost)
    return make_error(errc::bad_argument, "swarm.sandbox_replaced without a successor");
  // The lost one has ended as lost, in a swarm that goes on.
  auto fits = c.db.number("SELECT count(*) FROM sandboxes b JOIN swarms s USING (swarm) WHERE "
                          "b.sandbox = ?1 AND b.swarm = ?2 AND b.state = ?3 AND b.result = ?4 AND "
                          "s.state < ?5",
                          0, e.lost, c.swarm, phase::closed, outcome::lost, swarm_phase::stopping);
  if (!fits) return fits.err();
  if (*fits == 0)
    return make_error(errc::wrong_phase, "swarm.sandbox_replaced: " + e.lost.value
                                             + " is no lost sandbox of a swarm that goes on");
  std::string paths;
  for (const auto& path : e.unsynced)
    paths += path + '\n';
  auto done = change(c,
                     "INSERT INTO replacements (lost, swarm, successor, number, base_commit, "
                     "last_sync_at_ms, unsynced, unanswered, output_bytes, cost_usd, "
                     "replaced_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
                     "ON CONFLICT DO NOTHING",
                     e.lost, c.swarm, e.successor, e.number, e.base_commit, e.last_sync_at, paths,
                     e.unanswered, e.output_bytes, e.cost_usd, c.at);
  if (!done) return done.err();
  if (!*done) return make_error(errc::exists, "a successor of " + e.lost.value);
  return {};
}

result<void> fact(const context& c, const swarm_closed& e) {
  if (auto placed = in_swarm_chunk(c, "swarm.closed"); !placed) return placed;
  if (e.result == outcome::none)
    return make_error(errc::bad_argument, "swarm.closed without an outcome");
  // Its terminal event comes last: not before those of its sandboxes.
  auto done = change(c,
                     "UPDATE swarms SET state = ?2, result = ?3, error_code = ?4, error_text = ?5, "
                     "closed_at_ms = ?6 WHERE swarm = ?1 AND state <> ?2 AND NOT EXISTS "
                     "(SELECT 1 FROM sandboxes WHERE swarm = ?1 AND state <> ?7)",
                     c.swarm, swarm_phase::closed, e.result, code_of(e.why), text_of(e.why), c.at,
                     phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_swarm(c, "swarm.closed (with every sandbox closed)");
  return {};
}

} // namespace skep::storage::fold
