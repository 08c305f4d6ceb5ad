// What a run has cost so far, as far as it is known.
//
// The meeting point with budgets: everything that says money of a run that goes on (soft limits,
// the hard limit) asks here and nowhere else. Until prices of sandboxes are configured, their part
// is not known, and the cost is that of the models alone, as the agents report it.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

struct run_cost {
  double usd = 0;
  bool whole = false; ///< The price of the sandboxes is known and part of `usd`.
};

/// The price of an hour of one sandbox at this provider; nothing when it is not known.
std::optional<double> sandbox_usd_per_hour(const services& svc, const std::string& provider);

/// Model cost of the swarm's panes, and the time of its sandboxes where that has a price. Reads the
/// tables; a short read. What cannot be read counts 0 and is not whole.
run_cost cost_so_far(const services& svc, const swarm_id& swarm, const std::string& provider);

} // namespace skep::actors
