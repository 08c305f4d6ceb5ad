// The SANDBOX: the life of one sandbox, phase by phase (messages/enums.hpp, `phase`).
//
// Each phase is a fact, then a step, then the next phase. After a restart of the daemon the actor takes
// the life up where the state tables have it: it asks the provider by GET, never creates a second time,
// and repeats only steps that are idempotent. Whatever fails, what was made is destroyed, and the
// first error with its step is kept.
//
// File map: sandbox.cpp is the order of the phases; sandbox_steps.hpp the steps that talk to the sandbox
// (provision, upload, collect), each usable without this actor.
#pragma once

#include "actors/domain.hpp"
#include "actors/supervisor.hpp"

namespace skep::actors {

/// What a sandbox starts from: fresh, or as the state tables had it.
struct sandbox_start {
  sandbox_record record;
  std::vector<pane_record> panes;
  bool fresh = true;
  std::shared_ptr<const upload_bundle> bundle; ///< Not needed once a base is recorded.
};

/// Child specs of one sandbox's supervisor, in order: RECORDER, SANDBOX. The SANDBOX adds the OUTPUT
/// POLLER and the PANEs to `supervisor()` itself.
caf::strong_actor_ptr spawn_sandbox(caf::scheduled_actor* parent, context_ptr context,
                                    sandbox_start start, swarm_actor swarm,
                                    std::function<supervisor_actor()> supervisor);

} // namespace skep::actors
