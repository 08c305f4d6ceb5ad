// The LIMITER: admits starts of agents over all swarms, first come first served. Starting an agent
// costs a second or two of CPU; a hundred at once would time out together.
#pragma once

#include "actors/interfaces.hpp"

namespace skep::actors {

struct limiter_options {
  /// Starts admitted at once; 0: twice the number of cores.
  std::uint32_t places = 0;
  /// Longest queue; beyond it errc::queue_full is the answer.
  std::uint32_t queue = 100'000;
};

/// One sandbox holds at most three quarters of the places (of two or three: all but one), so that
/// others go on while what is inside of it hangs; a place in it is given back at the latest when
/// policies::ready_limit is over. An empty sandbox id is not bounded.
/// A place belongs to the actor that asked: when it dies its places and its turn in the queue are
/// free. Asking again for a pane that holds a place is answered at once and changes the holder;
/// asking again for one in the queue keeps the turn, and the former asker hears errc::cancelled.
limiter_actor spawn_limiter(caf::actor_system& sys, limiter_options options = {});
/// The same as child of another actor.
limiter_actor spawn_limiter(caf::scheduled_actor* parent, limiter_options options = {});

} // namespace skep::actors
