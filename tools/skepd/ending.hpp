// How skepd ends by a signal while swarms run: it leaves them to the next daemon, or it ends them
// first (on_stop = "kill"), within a time and with the names of those that did not listen.
#pragma once

#include "actors/shutdown.hpp"

#include <chrono>
#include <csignal>
#include <functional>

namespace skep::tools {

/// What a stop with on_stop = "kill" came to.
struct ending {
  std::vector<std::string> refused; ///< Who had not ended; empty when all had.
  std::chrono::milliseconds took{0};
};

/// Asks every swarm to end and waits until all have, and what no swarm ends (unled_ending) has, or
/// the time is over, or another of `signals` comes. Blocks, at most policies::shutdown_limit;
/// main's thread. What refused is in the log and the journal before this returns.
ending end_swarms(caf::actor_system& sys, const actors::services& svc,
                  actors::swarm_registry& registry, const sigset_t& signals);

/// Waits for a part of this process, `what`, until `over` says true, which waits a moment itself,
/// about 100 ms. At `until`, policies::own_end_limit after the first such wait began, and at
/// another of `signals` from outside, the log says so and this process ends at once, with the
/// status of timed_out or of stop_refused. Main's thread.
void await_or_exit(const sigset_t& signals, std::chrono::steady_clock::time_point until,
                   const char* what, const std::function<bool()>& over);

} // namespace skep::tools
