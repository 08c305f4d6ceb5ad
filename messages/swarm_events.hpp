// Events of whole runs. Numbers, names and what an event is: events.hpp, which includes this.
#pragma once

#include "messages/findings.hpp"
#include "messages/records.hpp"

namespace skep {

/// A run was accepted. The packed swarm_spec (commands.hpp) is what the run is made from.
struct swarm_created {
  std::string name;     ///< Free text for people, may be empty.
  std::string repo;     ///< Absolute path of the user's work tree.
  std::string provider; ///< Name of the provider entry.
  agent_kind agent = agent_kind::command;
  std::uint32_t sandboxes = 0;
  std::uint32_t panes = 0;    ///< Per sandbox.
  bool keep = false;          ///< Sandboxes stay after the run.
  std::string out_dir;        ///< Absolute path where results go.
  bytes spec;                 ///< Packed swarm_spec.
  double budget_usd = 0;      ///< What the whole swarm may cost; 0: no limit.
  double pane_budget_usd = 0; ///< What each pane may cost; 0: no limit.
  SKEP_FIELDS(field(1, "name", x.name), field(2, "repo", x.repo), field(3, "provider", x.provider),
              field(4, "agent", x.agent), field(5, "sandboxes", x.sandboxes),
              field(6, "panes", x.panes), field(7, "keep", x.keep), field(8, "out_dir", x.out_dir),
              field(9, "spec", x.spec), field(10, "budget_usd", x.budget_usd),
              field(11, "pane_budget_usd", x.pane_budget_usd))
};

/// Phases only go on; `stopping` comes a second time when a kill follows a stop, with its reason.
struct swarm_phase_changed {
  swarm_phase to = swarm_phase::queued;
  std::string reason;
  SKEP_FIELDS(field(1, "to", x.to), field(2, "reason", x.reason))
};

/// A share of the swarm's budget is spent; told once for each.
struct swarm_budget_warned {
  std::uint32_t percent = 0; ///< 50 or 80.
  double spent_usd = 0;      ///< The cost so far.
  double limit_usd = 0;
  std::string text = {}; ///< The same for people; empty in older journals.
  SKEP_FIELDS(field(1, "percent", x.percent), field(2, "spent_usd", x.spent_usd),
              field(3, "limit_usd", x.limit_usd), field(4, "text", x.text))
};

/// The last event of a swarm.
struct swarm_closed {
  outcome result = outcome::none;
  error why; ///< First error, or none.
  std::uint32_t panes_completed = 0;
  std::uint32_t panes_failed = 0;
  double cost_usd = 0;
  SKEP_FIELDS(field(1, "result", x.result), field(2, "why", x.why),
              field(3, "panes_completed", x.panes_completed),
              field(4, "panes_failed", x.panes_failed), field(5, "cost_usd", x.cost_usd))
};

/// A soft limit of the run's time was passed; told once, also over restarts. After a suspend
/// several may be over at once: the newest is told, the others are named.
struct time_warning {
  std::int64_t threshold_ms = 0;
  std::vector<std::int64_t> others_ms; ///< Earlier ones that nobody was told of, ascending.
  std::int64_t elapsed_ms = 0;
  std::int64_t limit_ms = 0;
  double cost_usd = 0;     ///< So far.
  bool cost_whole = false; ///< The sandboxes' price is known and part of it.
  std::string text;        ///< The same for people.
  SKEP_FIELDS(field(1, "threshold_ms", x.threshold_ms), field(2, "others_ms", x.others_ms),
              field(3, "elapsed_ms", x.elapsed_ms), field(4, "limit_ms", x.limit_ms),
              field(5, "cost_usd", x.cost_usd), field(6, "cost_whole", x.cost_whole),
              field(7, "text", x.text))
};

/// Note: the hard limit was reached; swarm.phase_changed to stopping follows.
struct time_limit_reached {
  std::int64_t elapsed_ms = 0;
  std::int64_t limit_ms = 0;
  double cost_usd = 0; ///< So far.
  bool cost_whole = false;
  std::string text;
  SKEP_FIELDS(field(1, "elapsed_ms", x.elapsed_ms), field(2, "limit_ms", x.limit_ms),
              field(3, "cost_usd", x.cost_usd), field(4, "cost_whole", x.cost_whole),
              field(5, "text", x.text))
};

/// Intent: a sandbox that its provider lost gets a successor with the same number; what was lost
/// with it. In the swarm's chunk, since the last event of the lost one was written.
struct sandbox_replaced {
  sandbox_id lost;
  sandbox_id successor;     ///< Its sandbox.queued follows.
  std::uint32_t number = 0; ///< Of the replacements of its swarm, from 1.
  std::uint32_t most = 0;   ///< As many as the run allows.
  std::string base_commit;  ///< Checkpoint that the successor starts from; empty: none yet.
  utc_time last_sync_at{};  ///< When files last travelled whole; 0: never.
  std::vector<std::string> unsynced; ///< Paths that agents said they wrote; not all need be known.
  std::uint32_t unanswered = 0;      ///< Prompts and inputs without an answer.
  std::uint64_t output_bytes = 0;    ///< Of its logs; they are kept.
  double cost_usd = 0;               ///< What the lost one cost.
  SKEP_FIELDS(field(1, "lost", x.lost), field(2, "successor", x.successor),
              field(3, "number", x.number), field(4, "most", x.most),
              field(5, "base_commit", x.base_commit), field(6, "last_sync_at_ms", x.last_sync_at),
              field(7, "unsynced", x.unsynced), field(8, "unanswered", x.unanswered),
              field(9, "output_bytes", x.output_bytes), field(10, "cost_usd", x.cost_usd))
};

/// What the scan of the work tree found while it was packed, where it found anything. `blocked`:
/// the run ends here, before any sandbox was made.
struct swarm_scanned {
  scan_policy policy = scan_policy::block;
  bool blocked = false;
  scan_report report;
  SKEP_FIELDS(field(1, "policy", x.policy), field(2, "blocked", x.blocked),
              field(3, "report", x.report))
};

} // namespace skep
