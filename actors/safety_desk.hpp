// The SAFETY desk: the commands for many sandboxes at once: drain, freeze, panic, survivors.
//
//   panic     note on disk -> a wish to kill to every swarm (or sandbox) that is meant -> reply
//   survivors asks the providers themselves, by our labels, and kills again what still lives
//
// Every wish is on disk before anything is done about it, and asking twice changes nothing: the
// state tables and the provider know what is left to do.
#pragma once

#include "actors/command_desk.hpp"

namespace skep::actors {

/// How long the providers may take to say what lives, before what is missing is named.
inline constexpr std::chrono::seconds survivors_limit{20};

desk_actor spawn_safety_desk(caf::scheduled_actor* parent, services_ptr svc,
                             std::shared_ptr<swarm_registry> registry);

} // namespace skep::actors
