// The HEALTH POLLER: is the inside of a sandbox alive?
//
//   every policies::health_interval, on the sandbox's tick: envd's health check
//     ok                      "healthy" after failures, else nothing; then a sample of its
//                             resources, an event where it differs (usage_watch.hpp)
//     failed, or no answer    notice "unhealthy" with n/limit, up to the limit
//     limit in a row, or gone the provider is asked by GET: 404 is the SANDBOX's loss, anything
//                             else says nothing
//
// Failures are counted in the context: a poller that is started again goes on with them.
//
// Only the provider can say that a sandbox is lost. That it does not answer is told and no more:
// when its output cannot be had either, the OUTPUT POLLER ends it.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// Spawns the poller of `context`'s sandbox as a child of `parent`, and puts its handle there.
caf::strong_actor_ptr spawn_health_poller(caf::scheduled_actor* parent, context_ptr context);

} // namespace skep::actors
