// Starts the holder process of a sandbox: its own session, nothing inherited but the pipe with its
// order and the pipe for its answer.
#pragma once

#include "host/posix.hpp"

#include <string>

namespace skep::host {

struct spawned_holder {
  unique_fd order;  ///< Write the order, then close.
  unique_fd answer; ///< One JSON line; end of file without one: it failed.
};

/// Runs `PROGRAM hold ID`. The process goes into the background at once and is not our child to
/// wait for (SIGCHLD is to be ignored by the caller).
result<spawned_holder> spawn_holder(const std::string& program, const std::string& id);

} // namespace skep::host
