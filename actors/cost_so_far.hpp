// What a run that goes on has cost so far, for what warns of its time and of its idle panes.
#pragma once

#include "actors/domain.hpp"
#include "messages/warnings.hpp"

namespace skep::actors {

/// Time and models (messages/cost.hpp) until now. Two short reads of the tables; what cannot be
/// read counts 0 and is not whole.
run_cost cost_so_far(const services& svc, const swarm_id& swarm);

} // namespace skep::actors
