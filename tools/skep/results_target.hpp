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
/// The same swarm with the folder that its results are in: that of the state directory when the
/// one the user named could not be written to (actors/results_dir.hpp).
swarm_record where_results_are(const storage::state_paths& paths, swarm_record swarm);
/// How long the panes' logs are by now, for people. Logs grow at this machine while agents write;
/// the tables learn of a length only when an agent has ended by itself.
void look_at_logs(const storage::state_paths& paths, status_reply& s);
/// All panes of OUT/SWARM that have results; none is no error.
result<results_target> results_in(const std::string& folder);

} // namespace skep::cli
