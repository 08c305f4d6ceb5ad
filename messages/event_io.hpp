// Packing events into chunk bodies and reading chunk bodies back.
#pragma once

#include "messages/events.hpp"
#include "messages/json.hpp"

#include <variant>

namespace skep {

/// Any journaled event.
using any_event = std::variant<
    daemon_started, daemon_stopping, command_accepted, child_restarted, supervisor_gave_up, notice,
    command_asked, audit_repaired, done_outside, budget_set, budget_warned, daemon_draining,
    panic_asked, stop_forced, swarm_created, swarm_phase_changed, swarm_closed, time_warning,
    time_limit_reached, swarm_budget_warned, sandbox_queued, create_intended, sandbox_created,
    create_failed, sandbox_fell_back, phase_changed, lease_intended, base_recorded,
    sandbox_degraded, kill_intended, kill_confirmed, sandbox_closed, sandbox_waits, model_spend,
    output_incomplete, sandbox_frozen, sandbox_failing, sandbox_replaced, notes_suppressed,
    usage_sampled, pane_created, pane_start_intended, pane_started, pane_exited, pane_restarting,
    pane_closed, pane_usage, agent_block, input_receipt, poll_failed, pane_budget_warned,
    log_truncated, pane_idle, pane_active, transfer_intended, transfer_done, transfer_failed,
    transfer_progress, swarm_scanned, results_scanned, collision>;

/// Facts of one event type; nullptr for an unknown number.
const event_info* find_event(std::uint32_t type);
/// Facts of every event type, in order of their numbers.
const std::vector<event_info>& all_events();

/// Appends one event to a chunk body.
template <event E>
void pack_event(std::string& body, utc_time at, const E& e) {
  string_sink sink{body};
  packer p{sink};
  p.pack_array(3);
  p.pack_uint32(event_traits<E>::info.type);
  pack_value(p, at);
  pack_value(p, e);
}

/// One event as it stands in a chunk: `body` is not interpreted, so that unknown types survive.
struct raw_event {
  std::uint32_t type = 0;
  utc_time at{};
  msgpack::object_handle body;
};

/// Reads the events of a chunk body one after the other.
class event_reader {
public:
  explicit event_reader(std::string_view body) : body_(body) {}
  bool done() const { return offset_ >= body_.size(); }
  result<raw_event> next();

private:
  std::string_view body_;
  std::size_t offset_ = 0;
};

/// Interprets a raw event. errc::bad_frame for an unknown type or a body that does not fit.
result<any_event> interpret(const raw_event& e);

/// {"type": name, "at_ms": ..., "body": {...}}; unknown types keep their number and no body.
json event_to_json(const raw_event& e);

/// What a chunk carries beside its events. Sequence numbers are the journal's, 0 before it
/// numbered.
struct chunk {
  swarm_id swarm;     ///< Empty above swarms.
  sandbox_id sandbox; ///< Empty above sandboxes.
  std::uint32_t count = 0;
  bytes body;
  std::uint64_t first_seq = 0;
  std::uint64_t previous_in_sandbox =
      0; ///< Last sequence of this sandbox before this chunk, 0: none.
  std::uint64_t previous_in_swarm = 0; ///< Last sequence of this swarm before this chunk, 0: none.

  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "sandbox", x.sandbox),
              field(3, "count", x.count), field(4, "body", x.body),
              field(5, "first_seq", x.first_seq),
              field(6, "previous_in_sandbox", x.previous_in_sandbox),
              field(7, "previous_in_swarm", x.previous_in_swarm))
  std::uint64_t last_seq() const { return first_seq + count - 1; }
};

} // namespace skep
