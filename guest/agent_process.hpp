// The agent's process and its three standard streams, as the holder sees them.
#pragma once

#include "guest/pane.hpp"

namespace skep::guest {

/// A started agent. It leads a session and process group of its own and dies with the holder.
struct agent_process {
  pid_t pid = -1;
  unique_fd output; ///< Non-blocking: stdout and stderr in order of arrival, or the terminal.
  unique_fd input;  ///< Non-blocking; -1 when the agent takes no input.
};

/// Why no agent runs: an errno, and what failed.
struct start_failure {
  int number = 0;
  std::string what;
};

/// Forks and executes. Returns when the exec is known to have succeeded or failed.
start_failure start_agent(const pane_options& options, int stdin_file, agent_process& out);

} // namespace skep::guest
