// The PANE: one agent, attempt by attempt.
//
//   queued -> starting -> running -> exited -> (restarting -> starting ...) -> closed
//
// Every step is a fact before it is an effect. `skep-guest pane` is idempotent per generation, so a
// daemon that died between intent and outcome simply asks again: no agent is started twice.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// Spawns the pane described by `record` (fresh, or as the state tables had it).
pane_actor spawn_pane(caf::scheduled_actor* parent, context_ptr context, pane_record record);

} // namespace skep::actors
