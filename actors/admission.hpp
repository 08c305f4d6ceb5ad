// ADMISSION: the one place where limits and budgets are enforced. A SANDBOX asks it before its
// create intent; SWARMS are told to stop when a budget ends.
//
//   SANDBOX -- admit --> in line -- first_hold: none, room in every budget --> then()
//                          |                                                     |
//                          |  `waiting` with place, rule, estimate      create_intended is on disk,
//                          |                                                    release
//   once a second while somebody waits or a budget is in force:
//     tables --> warnings (facts, once each), wind down, kill; rest_board
//
// What counts is read from the tables at each look; only grants whose intent is not on disk yet are
// remembered here, and which provider refuses creates for its own quota or rate, or for want of
// room: it is asked again by one sandbox at a time, after growing waits (create_backoff.hpp). Those
// that have a fallback do not wait for it: they are refused, and ask anew for a place there.
//
// Dead sandboxes that hold a place which somebody waits for are killed, as many as places are
// missing (dead_places.hpp): the REAPER does those that are closed, their own SANDBOX those that do
// not answer.
#pragma once

#include "actors/command_desk.hpp"
#include "actors/spend.hpp"

namespace skep::actors {

admission_actor spawn_admission(caf::scheduled_actor* parent, services_ptr svc,
                                std::shared_ptr<swarm_registry> swarms);

} // namespace skep::actors
