// Rows of the state tables, as the control protocol and `--json` show them. Only facts change them
// (storage/state_tables); column names are the field names.
#pragma once

#include "messages/enums.hpp"
#include "messages/error.hpp"
#include "messages/fields.hpp"
#include "messages/ids.hpp"

namespace skep {

struct swarm_record {
  swarm_id swarm;
  std::string name;
  std::string repo;
  std::string provider;
  agent_kind agent = agent_kind::command;
  std::uint32_t sandboxes = 0;
  std::uint32_t panes = 0; ///< Per sandbox.
  bool keep = false;
  std::string out_dir;
  swarm_phase state = swarm_phase::queued;
  outcome result = outcome::none;
  std::string error_code; ///< Name of the errc, or empty.
  std::string error_text; ///< Rendered message, or empty.
  /// What is settled: its models, and the time of its sandboxes that are gone. messages/cost.hpp
  /// adds the time of those that are there.
  double cost_usd = 0;
  utc_time created_at{};
  utc_time closed_at{};       ///< Epoch (0) while open.
  double budget_usd = 0;      ///< 0: none.
  double pane_budget_usd = 0; ///< 0: none.
  std::string stop_reason;    ///< Why it began to stop; empty while it has not.
  double time_cost_usd = 0;   ///< The part of cost_usd that is time.
  std::int64_t warned_ms = 0; ///< The latest soft limit of its time that was told; 0: none yet.
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "name", x.name), field(3, "repo", x.repo),
              field(4, "provider", x.provider), field(5, "agent", x.agent),
              field(6, "sandboxes", x.sandboxes), field(7, "panes", x.panes),
              field(8, "keep", x.keep), field(9, "out_dir", x.out_dir), field(10, "state", x.state),
              field(11, "result", x.result), field(12, "error_code", x.error_code),
              field(13, "error_text", x.error_text), field(14, "cost_usd", x.cost_usd),
              field(15, "created_at_ms", x.created_at), field(16, "closed_at_ms", x.closed_at),
              field(17, "budget_usd", x.budget_usd),
              field(18, "pane_budget_usd", x.pane_budget_usd),
              field(19, "stop_reason", x.stop_reason), field(20, "time_cost_usd", x.time_cost_usd),
              field(21, "warned_ms", x.warned_ms))
};

struct sandbox_record {
  sandbox_id sandbox;
  swarm_id swarm;
  std::uint32_t index = 0;
  std::string provider;
  phase state = phase::queued;
  outcome result = outcome::none;
  std::string intent;      ///< Of the newest create attempt.
  bool unresolved = false; ///< That create has neither an answer nor a settlement yet.
  std::string remote_id;   ///< Provider's id, or empty.
  bool kill_intended = false;
  bool kill_confirmed = false;
  bool degraded = false;
  bool kept = false;
  std::string base_commit;
  std::string error_code;
  std::string error_text;
  utc_time lease_end_at{};
  utc_time created_at{};
  utc_time phase_since{};
  utc_time closed_at{};
  double usd_per_hour = 0;
  utc_time charged_from{};        ///< Its time costs from here on; 0: nothing was made.
  utc_time charged_until{};       ///< The provider confirmed that it is gone; 0: it costs on.
  double model_cost_usd = 0;      ///< The gateway's count, or what its agents say.
  bool output_incomplete = false; ///< Logs of its panes end too early.
  bool frozen = false;            ///< Its agents were stopped where they are.
  /// The parts of its first error besides the code; error_text has them for people.
  std::string error_step, error_message, error_cause;
  SKEP_FIELDS(field(1, "sandbox", x.sandbox), field(2, "swarm", x.swarm),
              field(3, "index", x.index), field(4, "provider", x.provider),
              field(5, "state", x.state), field(6, "result", x.result),
              field(7, "intent", x.intent), field(8, "unresolved", x.unresolved),
              field(9, "remote_id", x.remote_id), field(10, "kill_intended", x.kill_intended),
              field(11, "kill_confirmed", x.kill_confirmed), field(12, "degraded", x.degraded),
              field(13, "kept", x.kept), field(14, "base_commit", x.base_commit),
              field(15, "error_code", x.error_code), field(16, "error_text", x.error_text),
              field(17, "lease_end_at_ms", x.lease_end_at),
              field(18, "created_at_ms", x.created_at), field(19, "phase_since_ms", x.phase_since),
              field(20, "closed_at_ms", x.closed_at), field(21, "usd_per_hour", x.usd_per_hour),
              field(22, "charged_from_ms", x.charged_from),
              field(23, "charged_until_ms", x.charged_until),
              field(24, "model_cost_usd", x.model_cost_usd),
              field(25, "output_incomplete", x.output_incomplete), field(26, "frozen", x.frozen),
              field(41, "error_step", x.error_step), field(42, "error_message", x.error_message),
              field(43, "error_cause", x.error_cause))
};

struct pane_record {
  pane_id pane;
  sandbox_id sandbox;
  swarm_id swarm;
  std::uint32_t index = 0;
  std::string name;
  std::string branch;
  agent_kind agent = agent_kind::command;
  pane_phase state = pane_phase::queued;
  outcome result = outcome::none;
  std::uint32_t attempt = 0; ///< Newest one; also the log generation.
  std::int64_t pid = 0;
  std::int32_t exit_code = 0; ///< -1: by a signal, or closed before anybody saw it end.
  std::int32_t signal = 0;
  std::uint64_t final_offset = 0;
  double cost_usd = 0;
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::uint32_t turns = 0;
  std::string summary;
  std::string error_code;
  std::string error_text;
  utc_time created_at{};
  utc_time started_at{}; ///< Of the newest attempt.
  utc_time closed_at{};
  /// The gateway counts what its sandbox's models cost: cost_usd is then only what the agent says.
  bool counted = false;
  bool output_incomplete = false;                     ///< Its log ends too early.
  bool idle = false;                                  ///< Warned of, since it gave no sign of life.
  std::string error_step, error_message, error_cause; ///< As a sandbox's.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "sandbox", x.sandbox), field(3, "swarm", x.swarm),
              field(4, "index", x.index), field(5, "name", x.name), field(6, "branch", x.branch),
              field(7, "agent", x.agent), field(8, "state", x.state), field(9, "result", x.result),
              field(10, "attempt", x.attempt), field(11, "pid", x.pid),
              field(12, "exit_code", x.exit_code), field(13, "signal", x.signal),
              field(14, "final_offset", x.final_offset), field(15, "cost_usd", x.cost_usd),
              field(16, "input_tokens", x.input_tokens),
              field(17, "output_tokens", x.output_tokens), field(18, "turns", x.turns),
              field(19, "summary", x.summary), field(20, "error_code", x.error_code),
              field(21, "error_text", x.error_text), field(22, "created_at_ms", x.created_at),
              field(23, "started_at_ms", x.started_at), field(24, "closed_at_ms", x.closed_at),
              field(25, "counted", x.counted), field(28, "output_incomplete", x.output_incomplete),
              field(29, "idle", x.idle), field(41, "error_step", x.error_step),
              field(42, "error_message", x.error_message), field(43, "error_cause", x.error_cause))
};

struct transfer_record {
  transfer_id transfer;
  sandbox_id sandbox;
  swarm_id swarm;
  pane_id pane; ///< Empty for an upload.
  transfer_direction direction = transfer_direction::upload;
  transfer_phase state = transfer_phase::intended;
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  std::string sha256;
  std::string error_code;
  std::string error_text;
  utc_time created_at{};
  utc_time ended_at{};
  SKEP_FIELDS(field(1, "transfer", x.transfer), field(2, "sandbox", x.sandbox),
              field(3, "swarm", x.swarm), field(4, "pane", x.pane),
              field(5, "direction", x.direction), field(6, "state", x.state),
              field(7, "files", x.files), field(8, "size_bytes", x.size_bytes),
              field(9, "sha256", x.sha256), field(10, "error_code", x.error_code),
              field(11, "error_text", x.error_text), field(12, "created_at_ms", x.created_at),
              field(13, "ended_at_ms", x.ended_at))
};

/// A path that several panes of a swarm changed.
struct collision {
  std::string path; ///< As people read it: UTF-8, else quoted as git does.
  std::vector<std::string> panes;
  overlap level = overlap::same;
  SKEP_FIELDS(field(1, "path", x.path), field(2, "panes", x.panes), field(3, "level", x.level))
};

/// A sandbox that its provider lost, and what was lost with it.
struct replacement_record {
  sandbox_id lost;
  swarm_id swarm;
  sandbox_id successor;
  std::uint32_t number = 0;       ///< Of the replacements of its swarm, from 1.
  std::string base_commit;        ///< Checkpoint that the successor starts from; empty: none yet.
  utc_time last_sync_at{};        ///< When files last travelled whole; 0: never.
  std::string unsynced;           ///< Paths that agents said they wrote, one a line; not all need
                                  ///< be known.
  std::uint32_t unanswered = 0;   ///< Prompts and inputs without an answer.
  std::uint64_t output_bytes = 0; ///< Of its logs; they are kept.
  double cost_usd = 0;            ///< What the lost one cost.
  utc_time replaced_at{};
  SKEP_FIELDS(field(1, "lost", x.lost), field(2, "swarm", x.swarm),
              field(3, "successor", x.successor), field(4, "number", x.number),
              field(5, "base_commit", x.base_commit), field(6, "last_sync_at_ms", x.last_sync_at),
              field(7, "unsynced", x.unsynced), field(8, "unanswered", x.unanswered),
              field(9, "output_bytes", x.output_bytes), field(10, "cost_usd", x.cost_usd),
              field(11, "replaced_at_ms", x.replaced_at))
};

/// What summary.json in a swarm's output folder holds.
struct swarm_summary {
  swarm_id swarm;
  std::string repo;
  agent_kind agent = agent_kind::command;
  std::vector<sandbox_record> sandboxes;
  std::vector<pane_record> panes;
  std::vector<std::string> merged; ///< Panes whose patch is in swarm.patch.
  std::vector<std::string>
      conflicts; ///< Panes left out of it: they touch what another one touches.
  network_policy network = network_policy::model; ///< What its sandboxes could reach.
  double cost_usd = 0;                            ///< Time and models.
  double time_cost_usd = 0;                       ///< Of that, the time of its sandboxes.
  double budget_usd = 0;                          ///< 0: none.
  std::vector<collision> collisions;              ///< Paths that several panes changed.
  std::uint64_t collisions_left_out = 0;          ///< More of them than are listed.
  std::vector<std::string> merge_order;           ///< In which the panes' changes go together best.
  std::vector<std::string> unmergeable; ///< Of those: conflict with what stands before them.
  std::vector<replacement_record> replacements; ///< Sandboxes that were lost and replaced.
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "repo", x.repo), field(3, "agent", x.agent),
              field(4, "sandboxes", x.sandboxes), field(5, "panes", x.panes),
              field(6, "merged", x.merged), field(7, "conflicts", x.conflicts),
              field(8, "network", x.network), field(20, "cost_usd", x.cost_usd),
              field(21, "time_cost_usd", x.time_cost_usd), field(22, "budget_usd", x.budget_usd),
              field(30, "collisions", x.collisions),
              field(31, "collisions_left_out", x.collisions_left_out),
              field(32, "merge_order", x.merge_order), field(33, "unmergeable", x.unmergeable),
              field(41, "replacements", x.replacements))
};

} // namespace skep
