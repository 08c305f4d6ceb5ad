// The RECORDER: a chunk builder with a mailbox. One for the daemon, one per swarm; a sandbox
// supervisor may own a chunk_builder itself instead.
#pragma once

#include "actors/chunk_builder.hpp"
#include "actors/directory.hpp"
#include "actors/interfaces.hpp"

namespace skep::actors {

struct recorder_options {
  chunk_limits limits;
  /// At an exit message: how long answers of the journal are awaited before waiters are told
  /// errc::shutting_down.
  caf::timespan stop_wait = std::chrono::seconds{3};
};

/// Events of `swarm` and `sandbox` (both empty: of the daemon; sandbox empty: of the swarm), in
/// order of arrival. An exit message makes it flush what it has, wait for the answers, and end.
recorder_actor spawn_recorder(caf::actor_system& sys, swarm_id swarm, sandbox_id sandbox,
                              directory_ptr dir, recorder_options options = {});
/// The same as child of another actor.
recorder_actor spawn_recorder(caf::scheduled_actor* parent, swarm_id swarm, sandbox_id sandbox,
                              directory_ptr dir, recorder_options options = {});

} // namespace skep::actors
