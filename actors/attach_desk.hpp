// The ATTACH DESK: the commands attach.* and shell.open of the control protocol. It finds the
// sandbox, has an ATTACH started there, and hands reads and writes on to it. The ATTACH of a shell
// is its own, whether the run of the sandbox goes on or is over.
//
// Attachments are no part of the journal: a daemon that is started again knows none. Their viewers
// and shells inside end with the deadline that they were started with, or with their sandbox.
#pragma once

#include "actors/command_desk.hpp"

namespace skep::actors {

desk_actor spawn_attach_desk(caf::scheduled_actor* parent, services_ptr svc,
                             std::shared_ptr<swarm_registry> registry);

} // namespace skep::actors
