// What a daemon would do first with a state directory: read from the tables, changing nothing.
// `skep recover --plan` shows it. The rules are those of the SANDBOX that is started again
// (actors/sandbox_create.cpp), of the REAPER and of the sweep of work files.
#pragma once

#include "messages/records.hpp"
#include "storage/reader.hpp"
#include "storage/state_dir.hpp"

#include <vector>

namespace skep::storage {

/// One thing that the next daemon does. `action`:
///
///   upgrade_schema    the database is of an older release: copied, then upgraded
///   take_up           an open swarm goes on
///   create            a sandbox was queued, and no provider asked for it
///   find_create       a provider was asked and nobody knows its answer: looked for by its label
///   adopt             asked for by GET, and its phase goes on
///   replace           a lost sandbox gets its successor, from the checkpoint: `--replace-lost`
///   kill              a kill that the provider has not confirmed
///   keep              a sandbox that stayed when its run ended: it is left alone, and costs
///   start_pane        an agent is started; where it was under way already, that start is repeated,
///                     which is done once
///   follow_pane       an agent runs: its log is continued at its end
///   close_pane        an agent has ended: its end is recorded
///   look_for_orphans  the provider's list is compared with the tables: where sandboxes live, and
///                     where one of ours may be there although its row says that it is gone. (The
///                     daemon asks all others that are configured, too, once after its start.)
///   sweep             files of a run that is over are removed
struct recovery_step {
  std::string action;
  swarm_id swarm;
  sandbox_id sandbox;
  pane_id pane;
  std::string provider;
  std::string remote_id;
  std::string state;       ///< Phase it was left in, or empty.
  std::string text;        ///< For people.
  std::string at_provider; ///< "there", "gone", or why that is not known; empty: nobody asked.
  std::string checkpoint;  ///< replace: the commit the lost one began with; empty: it had none yet.
  sandbox_id successor;    ///< replace: its id, where it was named before the daemon ended.
  SKEP_FIELDS(field(1, "action", x.action), field(2, "swarm", x.swarm),
              field(3, "sandbox", x.sandbox), field(4, "pane", x.pane),
              field(5, "provider", x.provider), field(6, "remote_id", x.remote_id),
              field(7, "state", x.state), field(8, "text", x.text),
              field(9, "at_provider", x.at_provider), field(10, "checkpoint", x.checkpoint),
              field(11, "successor", x.successor))
};

struct recovery_plan {
  std::string state_dir;
  std::int64_t daemon_pid = 0; ///< Of a daemon that runs now; the plan is then its successor's.
  std::uint64_t epoch = 0;     ///< That the next daemon takes.
  std::string last_failure;    ///< Why the last daemon had to end, or empty.
  std::vector<recovery_step> steps;
  SKEP_FIELDS(field(1, "state_dir", x.state_dir), field(2, "daemon_pid", x.daemon_pid),
              field(3, "epoch", x.epoch), field(4, "last_failure", x.last_failure),
              field(5, "steps", x.steps))
};

/// The plan for the state in `paths`, at `now`. A directory without a database has an empty one.
/// io, corrupt_database, schema_mismatch (of a newer release).
result<recovery_plan> plan_recovery(const state_paths& paths, utc_time now);

} // namespace skep::storage
