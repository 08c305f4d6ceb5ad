// How well the daemon and its parts do: the command `health`, and a part of `status`.
//
// Every part has a state and the reasons for it, in words; no reason means healthy. What is below a
// part counts: a sandbox with a dead pane is degraded, and so is its swarm.
#pragma once

#include "messages/events.hpp"
#include "messages/fields.hpp"
#include "messages/ids.hpp"

namespace skep {

struct daemon_health {
  health_state state = health_state::healthy;
  std::vector<std::string> reasons;
  std::int64_t uptime_ms = 0;
  std::uint32_t open_swarms = 0;
  std::uint32_t restarts = 0;              ///< Of actors, within the last 10 min.
  std::int64_t journal_lag_ms = 0;         ///< From an event to its place on disk, newest commit.
  std::uint64_t journal_waiting_bytes = 0; ///< On their way to the journal.
  std::uint64_t publisher_lag = 0;         ///< Events on disk that subscribers were not sent yet.
  SKEP_FIELDS(field(1, "state", x.state), field(2, "reasons", x.reasons),
              field(3, "uptime_ms", x.uptime_ms), field(4, "open_swarms", x.open_swarms),
              field(5, "restarts", x.restarts), field(6, "journal_lag_ms", x.journal_lag_ms),
              field(7, "journal_waiting_bytes", x.journal_waiting_bytes),
              field(8, "publisher_lag", x.publisher_lag))
};

struct swarm_health {
  swarm_id swarm;
  health_state state = health_state::healthy;
  std::vector<std::string> reasons;
  std::string worktree; ///< The user's work tree.
  std::int64_t uptime_ms = 0;
  std::int64_t limit_ms = 0;
  double cost_usd = 0; ///< So far, with the time of sandboxes that run.
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "state", x.state),
              field(3, "reasons", x.reasons), field(4, "worktree", x.worktree),
              field(5, "uptime_ms", x.uptime_ms), field(6, "limit_ms", x.limit_ms),
              field(7, "cost_usd", x.cost_usd))
};

struct sandbox_health {
  sandbox_id sandbox;
  swarm_id swarm;
  health_state state = health_state::healthy;
  std::vector<std::string> reasons;
  std::int64_t uptime_ms = 0;
  usage_sampled usage;
  utc_time sampled_at{}; ///< 0: no sample yet.
  SKEP_FIELDS(field(1, "sandbox", x.sandbox), field(2, "swarm", x.swarm),
              field(3, "state", x.state), field(4, "reasons", x.reasons),
              field(5, "uptime_ms", x.uptime_ms), field(6, "usage", x.usage),
              field(7, "sampled_at_ms", x.sampled_at))
};

struct pane_health {
  pane_id pane;
  sandbox_id sandbox;
  swarm_id swarm;
  std::string name;
  health_state state = health_state::healthy;
  std::vector<std::string> reasons;
  activity doing = activity::idle;
  std::string source; ///< What `doing` was told from: "output", "tool Bash", "exit code 3", ...
  utc_time since{};   ///< Time of that sign; 0: none.
  utc_time last_output_at{}; ///< 0: none yet.
  utc_time last_event_at{}; ///< Of the agent's structured output; 0: none since the daemon started.
  std::int64_t uptime_ms = 0; ///< Of the present attempt.
  std::string
      prompt_head; ///< First 80 characters, 200 where one swarm, sandbox or pane is asked for.
  SKEP_FIELDS(field(1, "pane", x.pane), field(2, "sandbox", x.sandbox), field(3, "swarm", x.swarm),
              field(4, "name", x.name), field(5, "state", x.state), field(6, "reasons", x.reasons),
              field(7, "activity", x.doing), field(8, "source", x.source),
              field(9, "since_ms", x.since), field(10, "last_output_at_ms", x.last_output_at),
              field(11, "last_event_at_ms", x.last_event_at), field(12, "uptime_ms", x.uptime_ms),
              field(13, "prompt_head", x.prompt_head))
};

/// Of what; empty ids: the daemon and every open swarm.
struct health_request {
  swarm_id swarm;
  sandbox_id sandbox;
  pane_id pane;
  SKEP_FIELDS(field(1, "swarm", x.swarm), field(2, "sandbox", x.sandbox), field(3, "pane", x.pane))
};

struct health_reply {
  health_state state = health_state::healthy; ///< Of what was asked for.
  daemon_health daemon;
  std::vector<swarm_health> swarms;
  std::vector<sandbox_health> sandboxes;
  std::vector<pane_health> panes;
  SKEP_FIELDS(field(1, "state", x.state), field(2, "daemon", x.daemon),
              field(3, "swarms", x.swarms), field(4, "sandboxes", x.sandboxes),
              field(5, "panes", x.panes))
};

} // namespace skep
