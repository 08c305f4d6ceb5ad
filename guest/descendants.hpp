// The processes below a pane holder, read from /proc.
#pragma once

#include <sys/types.h>
#include <vector>

namespace skep::guest {

/// Process ids of all descendants of `root`, without itself; empty where /proc is not mounted.
std::vector<pid_t> descendants_of(pid_t root);

/// Sends `signal` to all descendants of this process; for SIGKILL and SIGSTOP until no new one
/// appears (at most 20 rounds). Returns how many there were in the last round.
std::size_t signal_descendants(int signal);

} // namespace skep::guest
