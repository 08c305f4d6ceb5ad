// The results that diff, download and apply are asked about: by the daemon's records, or by the
// folder they lie in, which needs no daemon.
#pragma once

#include "tools/skep/app.hpp"
#include "transfer/kept.hpp"

namespace skep::cli {

struct results_target {
  std::string folder;                     ///< OUT/SWARM, absolute.
  std::vector<transfer::kept_pane> panes; ///< In the order in which they go together best.
  std::string label() const;              ///< The folder's name, which is the swarm's id.
};

/// `target`: a swarm, a pane (pn_... or SWARM/NAME), OUT/SWARM, or OUT/SWARM/NAME. no_results when
/// nothing was collected yet.
result<results_target> find_results(const app& a, const std::string& target);
/// All panes of OUT/SWARM that have results; none is no error.
result<results_target> results_in(const std::string& folder);

} // namespace skep::cli
