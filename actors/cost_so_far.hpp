// What a run that goes on has cost so far, for soft limits and the hard limit of its time.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

struct run_cost {
  double usd = 0;
  bool whole = false; ///< The time of all its sandboxes is part of `usd`.
};

/// Time and models (messages/cost.hpp) until now. Two short reads of the tables; what cannot be
/// read counts 0 and is not whole.
run_cost cost_so_far(const services& svc, const swarm_id& swarm);

} // namespace skep::actors
