// The HEALTH POLLER: is the inside of a sandbox alive?
//
//   every policies::health_interval, on the sandbox's tick: a sample of its resources, or envd's
//   health check where the last question for a sample was not answered
//     ok                      "healthy" after failures, else nothing; of a sample an event where
//                             it differs (usage_watch.hpp)
//     failed, or no answer    notice "unhealthy" with n/limit, up to the limit
//     limit in a row, or gone the provider is asked by GET: 404 is the SANDBOX's loss, at once from
//                             the local host, else after policies::loss_looks in a row, or after
//                             some in a row over as long as those of the SANDBOX take
//
// The provider's answer also tells a dead envd from a network that is down on our side:
//
//   limit of failures, the provider has it -- another failure, it still has it -- "ailing"
//
// Whoever needs the place of an ailing sandbox may have it (boards.hpp). The second answer is what
// counts: the first may be the moment at which the network came back. A GET that fails, and an
// envd that answers, take all of it back.
//
// Failures are counted in the context: a poller that is started again goes on with them.
//
// Only the provider can say that a sandbox is lost. That it does not answer ends it only for who
// waits for its place; when its output cannot be had either, the OUTPUT POLLER ends it.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// How many ticks a sandbox of a former daemon waits for its first question: all of them began with
/// the daemon, and would else be asked on one tick of six.
std::uint32_t first_question(const policies& p, const sandbox_id& of);

/// Spawns the poller of `context`'s sandbox as a child of `parent`, and puts its handle there. It
/// lets `later` ticks pass before its first question.
caf::strong_actor_ptr spawn_health_poller(caf::scheduled_actor* parent, context_ptr context,
                                          std::uint32_t later);

} // namespace skep::actors
