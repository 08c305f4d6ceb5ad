// Findings in results that a daemon wrote and did not live to tell of. A download is collected,
// then scanned, then told; of a sandbox that is still there it is simply collected again, and told.
// Of one that went meanwhile the results are all there is: they are scanned once more. No actor.
#pragma once

#include "actors/sandbox.hpp"

#include <set>

namespace skep::actors {

/// For each download of this sandbox that was intended and never done, and whose results are in the
/// output folder all the same: what a scan finds in them, where that is worth an event and none is
/// in the journal yet. Blocking.
std::vector<results_scanned> untold_findings(const services& svc, const swarm_spec& spec,
                                             const sandbox_record& box);

/// Panes of this sandbox (empty: the tree that all share) whose last download is on record as done,
/// its findings with it, and whose results are here as they were collected: nothing is to be
/// fetched of them once more. Blocking.
std::set<pane_id> panes_in_place(const services& svc, const swarm_spec& spec,
                                 const sandbox_record& box);

} // namespace skep::actors
