// How skepd ends by a signal while swarms run: it leaves them to the next daemon, or it ends them
// first (on_stop = "kill"), within a time and with the names of those that did not listen.
#pragma once

#include "actors/shutdown.hpp"

#include <csignal>

namespace skep::tools {

/// What a stop with on_stop = "kill" came to.
struct ending {
  std::vector<std::string> refused; ///< Who had not ended; empty when all had.
  std::chrono::milliseconds took{0};
};

/// Asks every swarm to end and waits until all have, or the time is over, or another of `signals`
/// comes. Blocks, at most policies::shutdown_limit; main's thread. What refused is in the log and
/// the journal before this returns.
ending end_swarms(caf::actor_system& sys, const actors::services& svc,
                  actors::swarm_registry& registry, const sigset_t& signals);

} // namespace skep::tools
