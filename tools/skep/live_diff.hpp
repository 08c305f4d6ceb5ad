// skep diff of a pane that still works, or whose sandbox is kept and whose results are not here:
// what it has changed so far, asked inside its sandbox. Looks only: HEAD and index of the agent
// stay, and what is made for it goes again, here and there.
#pragma once

#include "messages/findings.hpp"
#include "tools/skep/results_target.hpp"
#include "transfer/swept_dir.hpp"

namespace skep::cli {

/// As results are kept, in a folder of STATE/looks that goes with this object; where a kill leaves
/// it, with the next one or the next start of the daemon.
struct live_results {
  transfer::swept_dir folder;
  results_target found;
  bool kept = false;     ///< Its run is over, and its sandbox is still there.
  scan_report scan = {}; ///< Credentials in what came; see transfer::scan_results().
};

/// `target`: pn_... or SWARM/NAME. What comes out of the sandbox is checked as any results are,
/// within the times and sizes of the daemon's downloads, as [policy] sets them; its patch is
/// `claimed` where what was uploaded is not here any more. no_results for what is no pane, or none
/// that can be looked at now; errors of the provider, of the sandbox (remote_command_failed) and of
/// the check.
result<live_results> look_at_running(const app& a, const std::string& target);

} // namespace skep::cli
