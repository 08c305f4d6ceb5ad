// Facts of sandboxes and of their transfers.
#include "storage/spend_fold.hpp"

namespace skep::storage::fold {

result<void> fact(const context& c, const sandbox_queued& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.queued"); !placed) return placed;
  auto open = c.db.number("SELECT state <> ?2 FROM swarms WHERE swarm = ?1", 0, c.swarm,
                          swarm_phase::closed);
  if (!open) return open.err();
  if (*open == 0) return why_not_swarm(c, "sandbox.queued");
  if (auto fits = in_range("sandbox.queued", {}, e.usd_per_hour); !fits) return fits;
  auto done = change(c,
                     "INSERT INTO sandboxes (sandbox, swarm, \"index\", provider, state, "
                     "created_at_ms, phase_since_ms, usd_per_hour) VALUES (?1, ?2, ?3, ?4, ?5, "
                     "?6, ?6, ?7) ON CONFLICT (sandbox) DO NOTHING",
                     c.sandbox, c.swarm, e.index, e.provider, phase::queued, c.at, e.usd_per_hour);
  if (!done) return done.err();
  if (!*done) return make_error(errc::exists, "sandbox " + c.sandbox.value);
  return {};
}

result<void> fact(const context& c, const create_intended& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.create_intended"); !placed) return placed;
  if (e.intent.empty()) return make_error(errc::bad_argument, "a create intent without a name");
  // A retry is a new intent; the one before must be settled, and nothing may have come of it.
  auto done = change(c,
                     "UPDATE sandboxes SET intent = ?2, unresolved = 1 WHERE sandbox = ?1 AND "
                     "state <> ?3 AND unresolved = 0 AND remote_id = '' AND intent <> ?2",
                     c.sandbox, e.intent, phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.create_intended");
  return charge_begins(c, e);
}

// The two answers to a create may come after `closed`: somebody else may have ended the sandbox
// while its create was unresolved, and what came of it must be known in order to be killed.
result<void> fact(const context& c, const sandbox_created& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.created"); !placed) return placed;
  if (e.remote_id.empty()) return make_error(errc::bad_argument, "sandbox.created without an id");
  auto done = change(c,
                     "UPDATE sandboxes SET remote_id = ?3, unresolved = 0 WHERE sandbox = ?1 AND "
                     "unresolved = 1 AND intent = ?2",
                     c.sandbox, e.intent, e.remote_id);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.created (for this intent)");
  return {};
}

result<void> fact(const context& c, const create_failed& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.create_failed"); !placed) return placed;
  auto done = change(c,
                     "UPDATE sandboxes SET unresolved = 0 WHERE sandbox = ?1 AND unresolved = 1 "
                     "AND intent = ?2",
                     c.sandbox, e.intent);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.create_failed (for this intent)");
  return charge_dropped(c, e);
}

// Nothing of it is anywhere yet, and its creates keep the provider that they were sent to.
result<void> fact(const context& c, const sandbox_fell_back& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.fell_back"); !placed) return placed;
  if (e.provider.empty()) return make_error(errc::bad_argument, "sandbox.fell_back to no provider");
  if (auto fits = in_range("sandbox.fell_back", {}, e.usd_per_hour); !fits) return fits;
  auto done = change(c,
                     "UPDATE sandboxes SET provider = ?2, usd_per_hour = ?3 WHERE sandbox = ?1 AND "
                     "state <> ?4 AND unresolved = 0 AND remote_id = '' AND provider <> ?2",
                     c.sandbox, e.provider, e.usd_per_hour, phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.fell_back");
  return {};
}

result<void> fact(const context& c, const phase_changed& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.phase_changed"); !placed) return placed;
  auto done = change(c,
                     "UPDATE sandboxes SET state = ?2, phase_since_ms = ?3 WHERE sandbox = ?1 AND "
                     "state < ?2 AND ?2 <> ?4",
                     c.sandbox, e.to, c.at, phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.phase_changed to " + std::string{to_string(e.to)});
  return {};
}

result<void> fact(const context& c, const lease_intended& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.lease_intended"); !placed) return placed;
  auto done =
      change(c, "UPDATE sandboxes SET lease_end_at_ms = ?2 WHERE sandbox = ?1 AND state <> ?3",
             c.sandbox, e.end_at, phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.lease_intended");
  return {};
}

result<void> fact(const context& c, const base_recorded& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.base_recorded"); !placed) return placed;
  auto done = change(c, "UPDATE sandboxes SET base_commit = ?2 WHERE sandbox = ?1 AND state <> ?3",
                     c.sandbox, e.commit, phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.base_recorded");
  return {};
}

result<void> fact(const context& c, const sandbox_degraded& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.degraded"); !placed) return placed;
  auto done = change(c, "UPDATE sandboxes SET degraded = ?2 WHERE sandbox = ?1 AND state <> ?3",
                     c.sandbox, !e.panes.empty(), phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.degraded");
  return {};
}

result<void> fact(const context& c, const output_incomplete& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.output_incomplete"); !placed) return placed;
  auto done =
      change(c, "UPDATE sandboxes SET output_incomplete = 1 WHERE sandbox = ?1 AND state <> ?2",
             c.sandbox, phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.output_incomplete");
  for (const auto& pane : e.panes) {
    auto marked =
        change(c, "UPDATE panes SET output_incomplete = 1 WHERE pane = ?1 AND sandbox = ?2", pane,
               c.sandbox);
    if (!marked) return marked.err();
    if (!*marked) return why_not_pane(c, pane, "sandbox.output_incomplete");
  }
  return {};
}

result<void> fact(const context& c, const sandbox_frozen& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.frozen"); !placed) return placed;
  auto done = change(c, "UPDATE sandboxes SET frozen = ?2 WHERE sandbox = ?1 AND state <> ?3",
                     c.sandbox, e.frozen, phase::closed);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.frozen");
  return {};
}

// The first one stays: a SANDBOX that was restarted before it knew may say another.
result<void> fact(const context& c, const sandbox_failing& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.failing"); !placed) return placed;
  if (!e.why) return make_error(errc::bad_argument, "sandbox.failing without an error");
  auto open = c.db.number("SELECT 1 FROM sandboxes WHERE sandbox = ?1 AND state <> ?2", 0,
                          c.sandbox, phase::closed);
  if (!open) return open.err();
  if (*open == 0) return why_not_sandbox(c, "sandbox.failing");
  return c.db.run("UPDATE sandboxes SET error_code = ?2, error_text = ?3, error_step = ?4, "
                  "error_message = ?5, error_cause = ?6 WHERE sandbox = ?1 AND error_code = ''",
                  c.sandbox, code_of(e.why), text_of(e.why), e.why.step, e.why.message,
                  e.why.cause);
}

result<void> fact(const context& c, const kill_intended&) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.kill_intended"); !placed) return placed;
  auto done = change(c, "UPDATE sandboxes SET kill_intended = 1 WHERE sandbox = ?1", c.sandbox);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.kill_intended");
  return {};
}

result<void> fact(const context& c, const kill_confirmed&) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.kill_confirmed"); !placed) return placed;
  auto done =
      change(c, "UPDATE sandboxes SET kill_confirmed = 1, kept = 0 WHERE sandbox = ?1", c.sandbox);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.kill_confirmed");
  return charge_ends(c);
}

result<void> fact(const context& c, const sandbox_closed& e) {
  if (auto placed = in_sandbox_chunk(c, "sandbox.closed"); !placed) return placed;
  if (e.result == outcome::none)
    return make_error(errc::bad_argument, "sandbox.closed without an outcome");
  auto done = change(c,
                     "UPDATE sandboxes SET state = ?2, result = ?3, error_code = ?4, "
                     "error_text = ?5, kept = ?6, phase_since_ms = ?7, closed_at_ms = ?7, "
                     "error_step = ?9, error_message = ?10, error_cause = ?11 "
                     "WHERE sandbox = ?1 AND state <> ?2 AND NOT EXISTS "
                     "(SELECT 1 FROM panes WHERE sandbox = ?1 AND state <> ?8)",
                     c.sandbox, phase::closed, e.result, code_of(e.why), text_of(e.why), e.kept,
                     c.at, pane_phase::closed, e.why.step, e.why.message, e.why.cause);
  if (!done) return done.err();
  if (!*done) return why_not_sandbox(c, "sandbox.closed (with every pane closed)");
  // The provider said itself that it is gone.
  if (e.result == outcome::lost)
    if (auto ended = charge_ends(c); !ended) return ended;
  // Nobody is left to report on a transfer that was under way.
  return c.db.run("UPDATE transfers SET state = ?2, error_code = 'cancelled', "
                  "error_text = 'the sandbox was closed', ended_at_ms = ?3 "
                  "WHERE sandbox = ?1 AND state < ?4",
                  c.sandbox, transfer_phase::failed, c.at, transfer_phase::done);
}

// ---- transfers ------------------------------------------------------------------------------

namespace {
error why_not_transfer(const context& c, const transfer_id& id) {
  auto found =
      c.db.number("SELECT 1 FROM transfers WHERE transfer = ?1 AND sandbox = ?2", 0, id, c.sandbox);
  if (!found) return found.err();
  return *found == 0 ? make_error(errc::not_found, "transfer " + id.value)
                     : make_error(errc::wrong_phase, "transfer " + id.value + " has ended already");
}
} // namespace

result<void> fact(const context& c, const transfer_intended& e) {
  if (auto placed = in_sandbox_chunk(c, "transfer.intended"); !placed) return placed;
  if (auto fits = in_range("transfer.intended", {e.files, e.size_bytes}); !fits) return fits;
  auto open = c.db.number("SELECT state <> ?2 FROM sandboxes WHERE sandbox = ?1", 0, c.sandbox,
                          phase::closed);
  if (!open) return open.err();
  if (*open == 0) return why_not_sandbox(c, "transfer.intended");
  auto done = change(c,
                     "INSERT INTO transfers (transfer, sandbox, swarm, pane, direction, state, "
                     "files, size_bytes, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
                     "?9) ON CONFLICT (transfer) DO NOTHING",
                     e.transfer, c.sandbox, c.swarm, e.pane, e.direction, transfer_phase::intended,
                     e.files, e.size_bytes, c.at);
  if (!done) return done.err();
  if (!*done) return make_error(errc::exists, "transfer " + e.transfer.value);
  return {};
}

result<void> fact(const context& c, const transfer_done& e) {
  if (auto placed = in_sandbox_chunk(c, "transfer.done"); !placed) return placed;
  if (auto fits = in_range("transfer.done", {e.files, e.size_bytes}); !fits) return fits;
  auto done =
      change(c,
             "UPDATE transfers SET state = ?3, files = ?4, size_bytes = ?5, sha256 = ?6, "
             "ended_at_ms = ?7 WHERE transfer = ?1 AND sandbox = ?2 AND state < ?3",
             e.transfer, c.sandbox, transfer_phase::done, e.files, e.size_bytes, e.sha256, c.at);
  if (!done) return done.err();
  if (!*done) return why_not_transfer(c, e.transfer);
  return {};
}

result<void> fact(const context& c, const transfer_failed& e) {
  if (auto placed = in_sandbox_chunk(c, "transfer.failed"); !placed) return placed;
  auto done = change(c,
                     "UPDATE transfers SET state = ?3, error_code = ?4, error_text = ?5, "
                     "ended_at_ms = ?6 WHERE transfer = ?1 AND sandbox = ?2 AND state < ?7",
                     e.transfer, c.sandbox, transfer_phase::failed, code_of(e.why), text_of(e.why),
                     c.at, transfer_phase::done);
  if (!done) return done.err();
  if (!*done) return why_not_transfer(c, e.transfer);
  return {};
}

} // namespace skep::storage::fold
