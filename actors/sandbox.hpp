// The SANDBOX: the life of one sandbox, phase by phase (messages/enums.hpp, `phase`).
//
// Each phase is a fact, then a step, then the next phase. After a restart of the daemon the actor
// takes the life up where the state tables have it: it asks the provider by GET, never creates a
// second time, and repeats only steps that are idempotent. Whatever fails, what was made is
// destroyed, and the first error with its step is kept.
//
// sandbox.cpp is the order of the phases; sandbox_steps.hpp holds the steps that talk to the
// inside, sandbox_birth.hpp how a sandbox comes to be at the provider, pane_set.hpp the panes'
// progress.
#pragma once

#include "actors/domain.hpp"
#include "actors/supervisor.hpp"

namespace skep::actors {

/// What a sandbox starts from: fresh, or as the state tables had it.
struct sandbox_start {
  sandbox_record record;
  std::vector<pane_record> panes;
  bool fresh = true;
  std::shared_ptr<const upload_bundle> bundle; ///< Null once a base is recorded.
  /// How the run was ended, for one that was draining in a former life of the daemon.
  std::optional<stop_mode> stop = {};
};

/// The first error of a sandbox as its row has it; none while there is none.
error first_error(const sandbox_record& r);

/// The child that supervises one sandbox: RECORDER and SANDBOX first, then what the SANDBOX adds
/// (OUTPUT POLLER, PANEs). Endings are reported to `swarm`.
child_spec sandbox_child(context_ptr context, sandbox_start start,
                         std::function<swarm_actor()> swarm);

} // namespace skep::actors
