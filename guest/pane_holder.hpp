// The holder of one pane: a single-threaded process that outlives whoever started it.
#pragma once

#include "guest/pane.hpp"

namespace skep::guest {

/// What the holder tells the process that started it: zero errno means the agent runs.
struct start_report {
  pid_t pid = -1;
  int failed = 0; ///< errno of what stopped the start.
};

/// Runs the pane to its end. Called in the forked holder process, with `claim` held. Writes one
/// start_report to `report_fd` and closes it.
void hold_pane(const pane_options& options, unique_fd claim, unique_fd stdin_file,
               unique_fd report_fd);

} // namespace skep::guest
