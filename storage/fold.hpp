// Inner header of the fold: what the functions for swarms, sandboxes and panes share.
#pragma once

#include "messages/event_io.hpp"
#include "storage/connection.hpp"

namespace skep::storage::fold {

/// Where and when a fact happened.
struct context {
  connection& db;
  const swarm_id& swarm;
  const sandbox_id& sandbox;
  utc_time at;
  std::uint64_t seq;
};

/// Runs an UPDATE that is guarded by its WHERE; false when no row was changed.
template <class... Ts>
result<bool> change(const context& c, std::string_view sql, const Ts&... xs) {
  auto done = c.db.run(sql, xs...);
  if (!done) return done.err();
  return c.db.changes() > 0;
}

/// Name of an error for a column: empty for none.
inline std::string code_of(const error& e) {
  return e ? std::string{to_string(e.code)} : std::string{};
}
inline std::string text_of(const error& e) {
  return e ? render(e) : std::string{};
}

/// Why a guarded change found no row: it does not exist, or its phase forbids it.
error why_not_swarm(const context& c, std::string_view event);
error why_not_sandbox(const context& c, std::string_view event);
error why_not_pane(const context& c, const pane_id& pane, std::string_view event);

/// Facts must stand in a chunk of their own level.
result<void> in_daemon_chunk(const context& c, std::string_view event);
result<void> in_swarm_chunk(const context& c, std::string_view event);
result<void> in_sandbox_chunk(const context& c, std::string_view event);

/// Numbers that come from inside a sandbox must fit into the database.
result<void> in_range(std::string_view event, std::initializer_list<std::uint64_t> numbers,
                      double cost_usd = 0);

// One function a fact; the README's table says what each does.
result<void> fact(const context& c, const daemon_started& e);
result<void> fact(const context& c, const daemon_stopping& e);
result<void> fact(const context& c, const command_accepted& e);
result<void> fact(const context& c, const budget_set& e);
result<void> fact(const context& c, const budget_warned& e);
result<void> fact(const context& c, const swarm_budget_warned& e);
result<void> fact(const context& c, const model_spend& e);
result<void> fact(const context& c, const pane_budget_warned& e);
result<void> fact(const context& c, const command_asked& e);
result<void> fact(const context& c, const audit_repaired& e);
result<void> fact(const context& c, const done_outside& e);
result<void> fact(const context& c, const daemon_draining& e);
result<void> fact(const context& c, const swarm_created& e);
result<void> fact(const context& c, const swarm_phase_changed& e);
result<void> fact(const context& c, const swarm_closed& e);
result<void> fact(const context& c, const swarm_scanned& e);
result<void> fact(const context& c, const results_scanned& e);
result<void> fact(const context& c, const time_warning& e);
result<void> fact(const context& c, const sandbox_queued& e);
result<void> fact(const context& c, const create_intended& e);
result<void> fact(const context& c, const sandbox_created& e);
result<void> fact(const context& c, const create_failed& e);
result<void> fact(const context& c, const sandbox_fell_back& e);
result<void> fact(const context& c, const phase_changed& e);
result<void> fact(const context& c, const lease_intended& e);
result<void> fact(const context& c, const base_recorded& e);
result<void> fact(const context& c, const sandbox_degraded& e);
result<void> fact(const context& c, const sandbox_failing& e);
result<void> fact(const context& c, const sandbox_replaced& e);
result<void> fact(const context& c, const kill_intended& e);
result<void> fact(const context& c, const kill_confirmed& e);
result<void> fact(const context& c, const sandbox_closed& e);
result<void> fact(const context& c, const output_incomplete& e);
result<void> fact(const context& c, const sandbox_frozen& e);
result<void> fact(const context& c, const pane_created& e);
result<void> fact(const context& c, const pane_start_intended& e);
result<void> fact(const context& c, const pane_started& e);
result<void> fact(const context& c, const pane_exited& e);
result<void> fact(const context& c, const pane_restarting& e);
result<void> fact(const context& c, const pane_closed& e);
result<void> fact(const context& c, const pane_usage& e);
result<void> fact(const context& c, const input_receipt& e);
result<void> fact(const context& c, const pane_idle& e);
result<void> fact(const context& c, const pane_active& e);
result<void> fact(const context& c, const transfer_intended& e);
result<void> fact(const context& c, const transfer_done& e);
result<void> fact(const context& c, const transfer_failed& e);

} // namespace skep::storage::fold
