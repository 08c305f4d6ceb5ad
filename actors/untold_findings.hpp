// Findings in results that a daemon wrote and did not live to tell of. A download is collected,
// then scanned, then told; a sandbox that is still there is simply collected again, and told again.
// Of one that went meanwhile the results are all there is: they are scanned once more. No actor.
#pragma once

#include "actors/sandbox.hpp"

namespace skep::actors {

/// For each download of this sandbox that was intended and never done, and whose results are in the
/// output folder all the same: what a scan finds in them, where that is worth an event and none is
/// in the journal yet. Blocking.
std::vector<results_scanned> untold_findings(const services& svc, const swarm_spec& spec,
                                             const sandbox_record& box);

} // namespace skep::actors
