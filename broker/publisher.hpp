// The PUBLISHER: owns the XPUB socket of the event stream.
//
// It sends what the JOURNAL committed, in the order of arrival, and never waits for anybody: a
// subscriber that does not read loses frames at the high-water mark, sees the gap in `previous` and
// replays. While something changed since the last one, a head beacon goes out every second, and in
// quiet times every five: a beacon can be lost like any frame. Whoever subscribes to beacons gets
// one at once, which is also how a subscriber knows that it has joined.
#pragma once

#include "actors/interfaces.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace skep::broker {

struct publisher_config {
  std::string path;                                     ///< Of the unix socket; see endpoints.hpp.
  std::string stream_id;                                ///< Of this journal.
  std::uint64_t head_seq = 0;                           ///< Last committed sequence at the start.
  std::chrono::milliseconds beacon_interval{1000};      ///< While something changes.
  std::chrono::milliseconds idle_beacon_interval{5000}; ///< While nothing does.
  int send_high_water = 1000;                           ///< Frames kept for one subscriber.
  /// Told of the last sequence of every chunk that was sent; on its own thread, may be empty.
  std::function<void(std::uint64_t)> on_published = {};
};

/// Starts the PUBLISHER on a thread of its own. Binding happens in its first step: when it fails,
/// the actor ends with the error (from_caf() reads it) as its exit reason.
actors::publisher_actor start_publisher(caf::actor_system& system, publisher_config config);

} // namespace skep::broker
