// The ATTACH DESK: the commands attach.* and shell.open of the control protocol. It finds the
// sandbox, has an ATTACH started there, and hands reads and writes on to it. For a shell in a
// sandbox that was kept it starts the ATTACH itself: nobody else is left.
//
// Attachments are no part of the journal: a daemon that is started again knows none, and their
// viewers inside end by themselves.
#pragma once

#include "actors/command_desk.hpp"

namespace skep::actors {

desk_actor spawn_attach_desk(caf::scheduled_actor* parent, services_ptr svc,
                             std::shared_ptr<swarm_registry> registry);

} // namespace skep::actors
