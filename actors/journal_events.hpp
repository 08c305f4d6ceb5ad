// Reading back what the journal has of one run or sandbox.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// Calls `take` with each event of a swarm, in the journal's order, until it answers false; with
/// `sandbox`, only with those of that sandbox. Ends early, without a word, where the journal cannot
/// be read or there is none. Blocking; any thread.
void each_event(const services& svc, const swarm_id& swarm, const sandbox_id& sandbox,
                const std::function<bool(const any_event& what, utc_time at)>& take);

} // namespace skep::actors
