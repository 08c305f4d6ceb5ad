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
// while there is output, later while there is none; never two at a time.
//
// Failures in a row are counted up to policies::poll_failures; then the output is incomplete and
// the SANDBOX is told. The last of them, where it is of a kind that may pass (network, no answer),
// counts only when nothing has come for policies::poll_give_up; until then a follower is tried each
// policies::poll_wait_most.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// The wait before the next poll: short after one that brought something, else twice the last, up
/// to the longest.
std::chrono::milliseconds next_poll(const policies& p, std::chrono::milliseconds last,
                                    bool anything_came);

/// Spawns the poller of `context`'s sandbox as a child of `parent`. `known`: panes and generations
/// whose logs exist already (after a restart); others are found by the follower.
caf::strong_actor_ptr spawn_output_poller(caf::scheduled_actor* parent, context_ptr context,
                                          std::vector<std::pair<pane_id, std::uint32_t>> known);

} // namespace skep::actors
