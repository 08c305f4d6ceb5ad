// The OUTPUT POLLER: one stream a sandbox carries the logs of all panes.
//
// It starts `skep-guest follow` with this daemon's epoch and the position of every log, reads
// frames, appends bytes to the logs, hands them to the PANE and the PUBLISHER, and tells the PANE
// of exits. Followers are disposable: when a stream ends, breaks or grows old, a new one starts at
// the logs' ends. Without credit (policies::poll_buffer_bytes waiting) the stream pauses, and
// back-pressure ends at the log file inside the sandbox.
//
// Where streams fail (something between here and there may keep an answer until it is whole),
// output is polled: a follower that ends after policies::poll_life, a wait, the next one. Sooner
// while there is output, later while there is none; never two at a time. So is the output of
// sandboxes beyond those that there are streams for (follower_places.hpp): later, and not never.
// After policies::poll_for it is looked whether it can be followed now.
//
// Failures in a row are counted up to policies::poll_failures; then the SANDBOX is told, which asks
// the provider and removes this actor where the output is given up. The last of them, where it is
// of a kind that may pass (network, no answer), counts only when nothing has come for
// policies::poll_give_up; until then a follower is tried each policies::poll_wait_most. A follower
// from which nothing came for policies::follow_silence, not even its pulse, hangs: that is one such
// failure. After one that waiting may mend (retriable()) it goes on and counts anew: the network of
// this machine may be away, and the provider with it. That is not told again until something came.
//
// A follower whose stream ends without one whole frame, not even its hello, has failed, whatever
// its exit code says.
//
// A disk of this machine that has no room (less than policies::log_room_bytes, or a write says so)
// is no failure: the poller lets go of its stream, looks again after policies::disk_wait, and goes
// on at the logs' ends. Output is safe inside meanwhile; the ends of agents are not seen until
// then. What ends the run ends the wait, and then a last look has its time for the rest.
//
// A last look is the same with another aim: once the agents are over, it fetches what is missing of
// logs whose end nobody has seen, and ends.
#pragma once

#include "actors/domain.hpp"

#include <set>

namespace skep::actors {

/// The log of a pane's attempt.
using log_key = std::pair<pane_id, std::uint32_t>;

/// The wait before the next poll: short after one that brought something, else twice the last, up
/// to the longest.
std::chrono::milliseconds next_poll(const policies& p, std::chrono::milliseconds last,
                                    bool anything_came);

/// Spawns the poller of `context`'s sandbox as a child of `parent`. `known`: panes and generations
/// whose logs exist already (after a restart); others are found by the follower.
caf::strong_actor_ptr spawn_output_poller(caf::scheduled_actor* parent, context_ptr context,
                                          std::vector<log_key> known);

/// How a last look ended.
struct last_looked {
  std::vector<pane_id> missing; ///< Their logs may end too early.
  error why;                    ///< None: nothing is missing.
};

struct last_look {
  std::set<log_key> wanted; ///< Ends that were not seen; each is of the pane's newest attempt.
  /// Called once, in the child's context, also when the child is removed or dies.
  std::function<void(last_looked)> over;
};

/// The id of a last look among the children of a sandbox.
inline constexpr const char* last_look_name = "last-look";

/// A last look as a child: short followers (policies::last_look) at the logs' ends, one after the
/// other, until the ends wanted have come or one of them brought nothing more; then what was held
/// back, since it might have been the beginning of a secret, is written, too. What fails in
/// passing goes again, policies::step_attempts times in a row; all of it has
/// policies::last_look_limit. `known` are the logs of all attempts; those wanted among them. No
/// other poller may write them meanwhile.
child_spec last_look_child(context_ptr context, std::vector<log_key> known, last_look what);

/// Of closed panes: logs of newest attempts whose end nobody has seen, or that are shorter than
/// their end was. Reads file sizes.
std::vector<log_key> unseen_ends(const sandbox_context& context,
                                 const std::vector<pane_record>& panes);

} // namespace skep::actors
