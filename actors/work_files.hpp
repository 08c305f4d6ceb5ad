// STATE/work/SWARM: what a swarm needs of its own while it runs. It goes with the swarm's end, but
// for the packed work tree while a sandbox of it is kept with work that nobody fetched: `skep diff`
// proves by it what comes from there. Then that goes as well, once the last such sandbox is gone.
// Blocking; any thread.
#pragma once

#include "actors/domain.hpp"

#include <set>

namespace skep::actors {

/// Panes of this sandbox (empty: the tree that all share) whose last download brought something, as
/// the journal says; none where that cannot be read.
std::set<pane_id> stored_panes(const services& svc, const sandbox_record& box);

/// Removes what prepare_bundle() and the downloads left of this swarm, which is over, but for what
/// is kept as above. Where the tables cannot tell, it is kept.
void remove_work_files(const services& svc, const swarm_id& swarm);

/// For a sandbox that is gone: the same, where its swarm is over. An open one does it at its end.
void forget_kept_upload(const services& svc, const swarm_id& swarm);

/// Removes what a daemon that was killed left of every other swarm than these, as
/// remove_work_files() does, of comparisons of results, and of packs that it had not kept to their
/// end; and what a killed `skep diff` left in STATE/looks. For the time before a run can begin;
/// what cannot be removed stays.
void sweep_work_files(const services& svc, const std::vector<swarm_id>& open);

} // namespace skep::actors
