// Successors of sandboxes that their provider lost: which are owed (storage/successors.hpp), and
// what was lost. Pure functions over rows and the journal; the SWARM does the rest. No actor.
//
// A successor starts from the last checkpoint: the tree as it was uploaded to the lost one (the
// swarm's bundle, kept until the swarm ends). It has the same number, the same names of panes and
// the same prompts; what agents did since is gone with the sandbox, except their output.
#pragma once

#include "actors/sandbox.hpp"
#include "storage/successors.hpp"

namespace skep::actors {

using storage::owed;
using storage::owed_successor;

/// Sandboxes and panes of which no successor exists: those that count for the run's end.
void leave_out_replaced(const std::vector<replacement_record>& known,
                        std::vector<sandbox_record>& sandboxes, std::vector<pane_record>& panes);

/// What the event says of one loss, read from rows, journal and logs; `successor`, `number` and
/// `most` are the caller's. Blocking. What cannot be read is left as "not known", so that a
/// successor never waits for it.
sandbox_replaced what_was_lost(const services& svc, const swarm_spec& spec,
                               const sandbox_record& lost);

/// Most paths named in one event, and the longest of them.
inline constexpr std::size_t most_unsynced = 100, longest_path = 1024;

} // namespace skep::actors
