// Every event that is journaled. A fact changes the state tables; a note is only stored.
//
// Inside a chunk an event is the msgpack array [type, at_ms, body]: type number of the list at the
// end of this file, wall time in ms when it arose, body = the message as a map by field number.
// Swarm and sandbox of an event are those of its chunk (empty above them), its sequence is the
// chunk's first sequence + its index. A chunk holds events of one sandbox (or of one swarm, or of
// the daemon).
#pragma once

#include "messages/daemon_events.hpp"
#include "messages/findings.hpp"
#include "messages/records.hpp"
#include "messages/swarm_events.hpp"

namespace skep {

/// Fact or note; decides whether storage applies it to the state tables.
enum class event_class : std::uint8_t { fact, note };

// ---- sandbox --------------------------------------------------------------------------------

/// A sandbox of a swarm exists for us (not yet at the provider). Phase: queued.
struct sandbox_queued {
  std::uint32_t index = 0; ///< 0 .. sandboxes - 1 within the swarm.
  std::string provider;
  double usd_per_hour = 0; ///< What its time costs; stays what it was when the price changes.
  SKEP_FIELDS(field(1, "index", x.index), field(2, "provider", x.provider),
              field(3, "usd_per_hour", x.usd_per_hour))
};

/// Note: the sandbox is not created yet, because a limit is reached. Told again when that is
/// another one, and of its place: of each of the last ten, before of a quarter of the line at a
/// time.
struct sandbox_waits {
  std::uint32_t position = 0; ///< From 1, among those that wait for the same provider.
  std::string rule;           ///< Such as "max_active".
  std::uint64_t limit = 0;    ///< Of the rule.
  std::uint64_t count = 0;    ///< What counts against it now.
  std::int64_t wait_ms = 0;   ///< An estimate; 0: nobody knows.
  std::string setting;        ///< That would let it go on, such as "providers.cloud.max_active".
  SKEP_FIELDS(field(1, "position", x.position), field(2, "rule", x.rule),
              field(3, "limit", x.limit), field(4, "count", x.count),
              field(5, "wait_ms", x.wait_ms), field(6, "setting", x.setting))
};

/// What the provider's gateway has counted for the sandbox's models: totals since it was made.
/// From the first one on, agents' own accounts count no more for its cost.
struct model_spend {
  std::uint64_t calls = 0;
  double cost_usd = 0;              ///< Of the calls with a known price.
  std::uint64_t unpriced_calls = 0; ///< Their cost is unknown.
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  SKEP_FIELDS(field(1, "calls", x.calls), field(2, "cost_usd", x.cost_usd),
              field(3, "unpriced_calls", x.unpriced_calls),
              field(4, "input_tokens", x.input_tokens), field(5, "output_tokens", x.output_tokens))
};

/// Intent: the provider is about to be asked for a sandbox with the label skep.intent = intent. Its
/// admission too: from here on it counts against every limit, and its cost runs.
struct create_intended {
  std::string intent; ///< Unique per attempt.
  std::string template_name;
  std::int64_t lease_ms = 0;
  double reserved_usd = 0; ///< Kept free of the budgets for it until it has cost as much.
  SKEP_FIELDS(field(1, "intent", x.intent), field(2, "template", x.template_name),
              field(3, "lease_ms", x.lease_ms), field(4, "reserved_usd", x.reserved_usd))
};

/// The provider's answer to the create of `intent`.
struct sandbox_created {
  std::string intent;
  std::string remote_id; ///< The provider's id.
  std::string envd_version;
  SKEP_FIELDS(field(1, "intent", x.intent), field(2, "remote_id", x.remote_id),
              field(3, "envd_version", x.envd_version))
};

/// The create of `intent` is known not to have made a sandbox.
struct create_failed {
  std::string intent;
  error why; ///< `cancelled`: the provider was never asked.
  SKEP_FIELDS(field(1, "intent", x.intent), field(2, "why", x.why))
};

/// Its provider refused its create, and it is to be made at the run's fallback: from here on its
/// provider and its price are these. Only before it is anywhere, and with no create unanswered.
struct sandbox_fell_back {
  std::string provider; ///< Where it is made now.
  double usd_per_hour = 0;
  std::string from; ///< The one that refused.
  error why;        ///< With what.
  SKEP_FIELDS(field(1, "provider", x.provider), field(2, "usd_per_hour", x.usd_per_hour),
              field(3, "from", x.from), field(4, "why", x.why))
};

/// How long a phase took.
struct phase_time {
  phase of = phase::queued;
  std::int64_t took_ms = 0;
  SKEP_FIELDS(field(1, "phase", x.of), field(2, "ms", x.took_ms))
};

struct phase_changed {
  phase to = phase::queued;
  std::int64_t in_previous_ms = 0; ///< Time spent in the phase before.
  /// With `running` (the sandbox is ready): each phase before it, in their order. Those that a
  /// former daemon ended stand in its events alone.
  std::vector<phase_time> steps = {};
  SKEP_FIELDS(field(1, "to", x.to), field(2, "in_previous_ms", x.in_previous_ms),
              field(3, "steps", x.steps))
};

/// Intent and outcome of a lease change in one: the lease is set to end at `end_at`.
struct lease_intended {
  utc_time end_at{};
  SKEP_FIELDS(field(1, "end_at_ms", x.end_at))
};

/// The base commit inside, recorded after the upload was verified.
struct base_recorded {
  std::string commit;      ///< Hex object name.
  bool is_head = false;    ///< True when it is the user's own HEAD.
  std::uint64_t files = 0; ///< Files uploaded.
  std::uint64_t size_bytes = 0;
  std::string manifest_sha256;
  SKEP_FIELDS(field(1, "commit", x.commit), field(2, "is_head", x.is_head),
              field(3, "files", x.files), field(4, "size_bytes", x.size_bytes),
              field(5, "manifest_sha256", x.manifest_sha256))
};

/// Some panes are out, at least half still work.
struct sandbox_degraded {
  std::vector<pane_id> panes; ///< Those that are out.
  SKEP_FIELDS(field(1, "panes", x.panes))
};

/// The first error of a sandbox: it will fail. Written before anything is done about it, so that a
/// daemon that dies meanwhile closes it with the same one.
struct sandbox_failing {
  error why; ///< With its step.
  SKEP_FIELDS(field(1, "why", x.why))
};

/// Intent: the sandbox will be killed at the provider; repeated until confirmed.
struct kill_intended {
  std::string reason;
  SKEP_FIELDS(field(1, "reason", x.reason))
};

/// The provider confirmed (or answered 404) that the sandbox is gone.
struct kill_confirmed {
  std::string remote_id;
  SKEP_FIELDS(field(1, "remote_id", x.remote_id))
};

/// The last event of a sandbox. Phase: closed. `kept`: it still runs at the provider, on purpose.
struct sandbox_closed {
  outcome result = outcome::none;
  error why;
  bool kept = false;
  SKEP_FIELDS(field(1, "result", x.result), field(2, "why", x.why), field(3, "kept", x.kept))
};

/// Note: what a sandbox uses, by its own word (envd's GET /metrics). 0 in a total: not told.
struct usage_sampled {
  double cpu_percent = 0; ///< Of all its processors together, 0 .. 100.
  std::uint32_t cpu_count = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t memory_total_bytes = 0;
  std::uint64_t disk_bytes = 0;
  std::uint64_t disk_total_bytes = 0;
  SKEP_FIELDS(field(1, "cpu_percent", x.cpu_percent), field(2, "cpu_count", x.cpu_count),
              field(3, "memory_bytes", x.memory_bytes),
              field(4, "memory_total_bytes", x.memory_total_bytes),
              field(5, "disk_bytes", x.disk_bytes),
              field(6, "disk_total_bytes", x.disk_total_bytes))
};

/// Output of these panes could not be fetched any more: their logs end too early.
struct output_incomplete {
  std::vector<pane_id> panes;
  error why;
  SKEP_FIELDS(field(1, "panes", x.panes), field(2, "why", x.why))
};

/// Intent: the agents are about to be stopped where they are (SIGSTOP), or to go on. The sandbox
/// itself runs on, and so do its time limit and its price.
struct sandbox_frozen {
  bool frozen = false;
  std::string reason;
  SKEP_FIELDS(field(1, "frozen", x.frozen), field(2, "reason", x.reason))
};

// ---- pane -----------------------------------------------------------------------------------

/// A pane exists. Phase: queued.
struct pane_created {
  pane_id pane;
  std::uint32_t index = 0; ///< Over the whole swarm: 0 .. sandboxes * panes - 1 (SKEP_PANE_INDEX).
  std::string name;        ///< "p<index>", used in branch and file names.
  agent_kind agent = agent_kind::command;
  std::string branch; ///< Branch inside the sandbox, "skep/<name>".
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "index", x.index), field(3, "name", x.name),
              field(4, "agent", x.agent), field(5, "branch", x.branch))
};

/// Intent: attempt `attempt` of the agent will be started. Its log generation is the attempt.
struct pane_start_intended {
  pane_id pane;
  std::uint32_t attempt = 0; ///< From 1.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "attempt", x.attempt))
};

/// The pane holder runs inside the sandbox. Phase: running.
struct pane_started {
  pane_id pane;
  std::uint32_t attempt = 0;
  std::int64_t pid = 0; ///< Agent's pid as seen inside.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "attempt", x.attempt), field(3, "pid", x.pid))
};

/// The agent's process of this attempt ended. `final_offset`: size of its log.
struct pane_exited {
  pane_id pane;
  std::uint32_t attempt = 0;
  std::int32_t exit_code = 0; ///< -1 when a signal ended it or the exit is unknown.
  std::int32_t signal = 0;    ///< 0 when it exited.
  std::uint64_t final_offset = 0;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "attempt", x.attempt),
              field(3, "exit_code", x.exit_code), field(4, "signal", x.signal),
              field(5, "final_offset", x.final_offset))
};

/// The next attempt starts after `delay_ms`. Phase: restarting.
struct pane_restarting {
  pane_id pane;
  std::uint32_t attempt = 0; ///< The one that failed.
  std::int64_t delay_ms = 0;
  std::string reason;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "attempt", x.attempt),
              field(3, "delay_ms", x.delay_ms), field(4, "reason", x.reason))
};

/// The last event of a pane; its log ends at `final_offset` of generation `attempt`. Phase: closed.
struct pane_closed {
  pane_id pane;
  outcome result = outcome::none;
  error why;
  std::uint32_t attempt = 0;
  std::uint64_t final_offset = 0;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "result", x.result), field(3, "why", x.why),
              field(4, "attempt", x.attempt), field(5, "final_offset", x.final_offset))
};

/// An agent's own account of its work (the claude adapter's `result` line). Adds to the pane's
/// totals.
struct pane_usage {
  pane_id pane;
  double cost_usd = 0; ///< The agent's estimate, not a bill.
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::uint32_t turns = 0;
  std::string summary; ///< First 2,000 bytes of its final answer.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "cost_usd", x.cost_usd),
              field(3, "input_tokens", x.input_tokens), field(4, "output_tokens", x.output_tokens),
              field(5, "turns", x.turns), field(6, "summary", x.summary))
};

/// A share of a pane's budget is spent; told once for each.
struct pane_budget_warned {
  pane_id pane;
  std::uint32_t percent = 0; ///< 50 or 80.
  double spent_usd = 0;      ///< The cost so far of the pane.
  double limit_usd = 0;
  std::string text = {}; ///< The same for people; empty in older journals.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "percent", x.percent),
              field(3, "spent_usd", x.spent_usd), field(4, "limit_usd", x.limit_usd),
              field(5, "text", x.text))
};

/// Note: a block of an agent's structured output. `text` is cut at 4 KiB; the log has all of it.
struct agent_block {
  pane_id pane;
  block_kind kind = block_kind::other;
  std::string name; ///< Tool name for tool_use.
  std::string text;
  bool is_error = false;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "kind", x.kind), field(3, "name", x.name),
              field(4, "text", x.text), field(5, "is_error", x.is_error))
};

/// Note: more blocks came than are journaled (policy.hpp, note_policy); the log has all of them.
struct notes_suppressed {
  pane_id pane;
  std::uint64_t count = 0; ///< Blocks that were left out since the last word of it.
  utc_time since{};        ///< When the first of them came.
  std::uint32_t attempt = 0;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "count", x.count), field(3, "since_ms", x.since),
              field(4, "attempt", x.attempt))
};

/// Input for a pane and how far it got. The bytes themselves are not journaled.
struct input_receipt {
  pane_id pane;
  std::string key;
  std::uint64_t size_bytes = 0;
  receipt state = receipt::accepted;
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "key", x.key),
              field(3, "size_bytes", x.size_bytes), field(4, "state", x.state))
};

/// Note: the front of a log was freed, since it had grown beyond its cap. Offsets stay as they are.
struct log_truncated {
  pane_id pane;
  std::uint32_t generation = 0;
  std::uint64_t begin_offset = 0; ///< First byte that is kept.
  std::uint64_t freed_bytes = 0;  ///< Of this generation, in all.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "generation", x.generation),
              field(3, "begin_offset", x.begin_offset), field(4, "freed_bytes", x.freed_bytes))
};

/// No output and no event of this pane for its idle limit; it is stopped after `grace_ms` more.
struct pane_idle {
  pane_id pane;
  std::int64_t idle_ms = 0;
  std::int64_t limit_ms = 0;
  std::int64_t grace_ms = 0;
  double cost_usd = 0;     ///< Of its swarm, so far.
  bool cost_whole = false; ///< The sandboxes' price is known and part of it.
  std::string text = {};   ///< The same for people; empty, with no cost, in older journals.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "idle_ms", x.idle_ms),
              field(3, "limit_ms", x.limit_ms), field(4, "grace_ms", x.grace_ms),
              field(5, "cost_usd", x.cost_usd), field(6, "cost_whole", x.cost_whole),
              field(7, "text", x.text))
};

/// A pane that was idle gave a sign of life.
struct pane_active {
  pane_id pane;
  SKEP_FIELDS(field(1, "pane", x.pane))
};

/// Output polling failed, the `count`-th failure in a row that counts; at `limit` polling stops and
/// output is incomplete.
struct poll_failed {
  std::uint32_t count = 0;
  std::uint32_t limit = 5;
  error why;
  SKEP_FIELDS(field(1, "count", x.count), field(2, "limit", x.limit), field(3, "why", x.why))
};

// ---- transfer -------------------------------------------------------------------------------

/// Intent: files will travel.
struct transfer_intended {
  transfer_id transfer;
  transfer_direction direction = transfer_direction::upload;
  pane_id pane; ///< For a download of one pane's changes; else empty.
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  SKEP_FIELDS(field(1, "transfer", x.transfer), field(2, "direction", x.direction),
              field(3, "pane", x.pane), field(4, "files", x.files),
              field(5, "size_bytes", x.size_bytes))
};

/// How far an upload is. In several parts: at its start, with those that an earlier attempt sent,
/// and after each part. While a part is under way, with what is sent of it, no more often than once
/// a second (policies::upload_progress); one in one part that takes no longer has none at all.
struct transfer_progress {
  transfer_id transfer;
  std::uint32_t parts_done = 0; ///< Inside, whoever sent them.
  std::uint32_t parts = 0;
  std::uint64_t done_bytes = 0; ///< Of whole parts, and of the one under way.
  std::uint64_t size_bytes = 0;
  std::uint64_t sent_bytes = 0; ///< By this attempt.
  std::int64_t elapsed_ms = 0;  ///< Of this attempt.
  SKEP_FIELDS(field(1, "transfer", x.transfer), field(2, "parts_done", x.parts_done),
              field(3, "parts", x.parts), field(4, "done_bytes", x.done_bytes),
              field(5, "size_bytes", x.size_bytes), field(6, "sent_bytes", x.sent_bytes),
              field(7, "elapsed_ms", x.elapsed_ms))
};

struct transfer_done {
  transfer_id transfer;
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  std::string sha256; ///< Of the archive or patch that travelled.
  SKEP_FIELDS(field(1, "transfer", x.transfer), field(2, "files", x.files),
              field(3, "size_bytes", x.size_bytes), field(4, "sha256", x.sha256))
};

struct transfer_failed {
  transfer_id transfer;
  error why;
  SKEP_FIELDS(field(1, "transfer", x.transfer), field(2, "why", x.why))
};

/// What the scan of a pane's changes found, where it found anything. They are kept as they are.
struct results_scanned {
  transfer_id transfer;
  std::string tree; ///< Name of the pane or tree, as in the output folder.
  scan_report report;
  SKEP_FIELDS(field(1, "transfer", x.transfer), field(2, "tree", x.tree),
              field(3, "report", x.report))
};

// ---- the list -------------------------------------------------------------------------------

/// Number, name and class of an event type.
struct event_info {
  std::uint32_t type;
  std::string_view name;
  event_class kind;
};

template <class E>
struct event_traits;

// SKEP_EVENT(type, struct, "name", class): numbers are never reused.
#define SKEP_EVENTS(SKEP_EVENT)                                                                    \
  SKEP_EVENT(1, daemon_started, "daemon.started", fact)                                            \
  SKEP_EVENT(2, daemon_stopping, "daemon.stopping", fact)                                          \
  SKEP_EVENT(3, command_accepted, "command.accepted", fact)                                        \
  SKEP_EVENT(4, child_restarted, "supervisor.child_restarted", note)                               \
  SKEP_EVENT(5, supervisor_gave_up, "supervisor.gave_up", note)                                    \
  SKEP_EVENT(6, notice, "notice", note)                                                            \
  SKEP_EVENT(7, command_asked, "command.asked", fact)                                              \
  SKEP_EVENT(8, audit_repaired, "audit.repaired", fact)                                            \
  SKEP_EVENT(9, done_outside, "daemon.done_outside", fact)                                         \
  SKEP_EVENT(10, budget_set, "budget.set", fact)                                                   \
  SKEP_EVENT(11, budget_warned, "budget.warned", fact)                                             \
  SKEP_EVENT(14, daemon_draining, "daemon.draining", fact)                                         \
  SKEP_EVENT(15, panic_asked, "daemon.panic", note)                                                \
  SKEP_EVENT(16, stop_forced, "daemon.stop_forced", note)                                          \
  SKEP_EVENT(20, swarm_created, "swarm.created", fact)                                             \
  SKEP_EVENT(21, swarm_phase_changed, "swarm.phase_changed", fact)                                 \
  SKEP_EVENT(22, swarm_closed, "swarm.closed", fact)                                               \
  SKEP_EVENT(23, time_warning, "swarm.time_warning", fact)                                         \
  SKEP_EVENT(24, time_limit_reached, "swarm.time_limit", note)                                     \
  SKEP_EVENT(26, swarm_budget_warned, "swarm.budget_warned", fact)                                 \
  SKEP_EVENT(27, swarm_scanned, "swarm.scanned", fact)                                             \
  SKEP_EVENT(40, sandbox_queued, "sandbox.queued", fact)                                           \
  SKEP_EVENT(41, create_intended, "sandbox.create_intended", fact)                                 \
  SKEP_EVENT(42, sandbox_created, "sandbox.created", fact)                                         \
  SKEP_EVENT(43, create_failed, "sandbox.create_failed", fact)                                     \
  SKEP_EVENT(44, phase_changed, "sandbox.phase_changed", fact)                                     \
  SKEP_EVENT(45, lease_intended, "sandbox.lease_intended", fact)                                   \
  SKEP_EVENT(46, base_recorded, "sandbox.base_recorded", fact)                                     \
  SKEP_EVENT(47, sandbox_degraded, "sandbox.degraded", fact)                                       \
  SKEP_EVENT(48, kill_intended, "sandbox.kill_intended", fact)                                     \
  SKEP_EVENT(49, kill_confirmed, "sandbox.kill_confirmed", fact)                                   \
  SKEP_EVENT(50, sandbox_closed, "sandbox.closed", fact)                                           \
  SKEP_EVENT(51, sandbox_waits, "sandbox.waits", note)                                             \
  SKEP_EVENT(52, model_spend, "sandbox.model_spend", fact)                                         \
  SKEP_EVENT(54, output_incomplete, "sandbox.output_incomplete", fact)                             \
  SKEP_EVENT(55, sandbox_frozen, "sandbox.frozen", fact)                                           \
  SKEP_EVENT(57, sandbox_failing, "sandbox.failing", fact)                                         \
  SKEP_EVENT(58, sandbox_replaced, "swarm.sandbox_replaced", fact)                                 \
  SKEP_EVENT(59, usage_sampled, "sandbox.usage", note)                                             \
  SKEP_EVENT(60, pane_created, "pane.created", fact)                                               \
  SKEP_EVENT(61, pane_start_intended, "pane.start_intended", fact)                                 \
  SKEP_EVENT(62, pane_started, "pane.started", fact)                                               \
  SKEP_EVENT(63, pane_exited, "pane.exited", fact)                                                 \
  SKEP_EVENT(64, pane_restarting, "pane.restarting", fact)                                         \
  SKEP_EVENT(65, pane_closed, "pane.closed", fact)                                                 \
  SKEP_EVENT(66, pane_usage, "pane.usage", fact)                                                   \
  SKEP_EVENT(67, agent_block, "pane.block", note)                                                  \
  SKEP_EVENT(68, input_receipt, "pane.input", fact)                                                \
  SKEP_EVENT(69, poll_failed, "sandbox.poll_failed", note)                                         \
  SKEP_EVENT(70, pane_budget_warned, "pane.budget_warned", fact)                                   \
  SKEP_EVENT(71, notes_suppressed, "pane.blocks_suppressed", note)                                 \
  SKEP_EVENT(72, sandbox_fell_back, "sandbox.fell_back", fact)                                     \
  SKEP_EVENT(73, log_truncated, "pane.log_truncated", note)                                        \
  SKEP_EVENT(74, pane_idle, "pane.idle", fact)                                                     \
  SKEP_EVENT(75, pane_active, "pane.active", fact)                                                 \
  SKEP_EVENT(80, transfer_intended, "transfer.intended", fact)                                     \
  SKEP_EVENT(81, transfer_done, "transfer.done", fact)                                             \
  SKEP_EVENT(82, transfer_failed, "transfer.failed", fact)                                         \
  SKEP_EVENT(83, results_scanned, "transfer.results_scanned", fact)                                \
  SKEP_EVENT(85, collision, "collision", note)                                                     \
  SKEP_EVENT(87, transfer_progress, "transfer.progress", note)

#define SKEP_EVENT_TRAITS(number, Type, text, cls)                                                 \
  template <>                                                                                      \
  struct event_traits<Type> {                                                                      \
    static constexpr event_info info{number, text, event_class::cls};                              \
    static_assert(check_fields<Type>());                                                           \
  };
SKEP_EVENTS(SKEP_EVENT_TRAITS)
#undef SKEP_EVENT_TRAITS

/// A struct of the list above.
template <class E>
concept event = requires {
  event_traits<E>::info;
};

} // namespace skep
