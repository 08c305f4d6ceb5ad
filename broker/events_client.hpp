// Following the event stream: history first, then live, every event once and in order.
//
//   auto stream = event_stream::follow(endpoints_of(state_dir), 1, {swarm, {}});
//   while (auto event = stream->next(1s)) { if (*event) use(**event); }
//
// How nothing is missed: the stream joins the live feed before it reads history; every live chunk
// names the one before it; a chunk whose predecessor was not delivered makes the stream replay from
// there. A lost tail is noticed by the head beacon. One object is used by one thread.
#pragma once

#include "broker/client.hpp"
#include "broker/frames.hpp"

#include <chrono>
#include <deque>
#include <memory>
#include <optional>

namespace skep::broker {

/// A journaled event with its place in the stream.
struct received_event {
  std::uint64_t seq = 0;
  swarm_id swarm;     ///< Empty above swarms.
  sandbox_id sandbox; ///< Empty above sandboxes.
  raw_event event;
};

/// {"seq": ..., "swarm": ..., "sandbox": ..., "type": ..., "at_ms": ..., "body": {...}}
json to_json(const received_event& e);

struct follow_policy {
  std::chrono::milliseconds join{3000};       ///< For the first beacon.
  std::chrono::milliseconds page{10'000};     ///< For one page of history, with waits for the rate.
  std::chrono::milliseconds tail_check{2000}; ///< Between checks for a lost tail of a selection.
  std::chrono::milliseconds silence{3000};    ///< Then it is asked whether the daemon lives.
  std::uint32_t page_chunks = 64;
  int receive_high_water = 10'000; ///< Frames kept while nobody calls next().
};

class event_stream {
public:
  /// Joins the stream; events from sequence `from` on will be delivered, 0: only those to come.
  /// errc::no_daemon: nobody listens. errc::io: as listener_refused() says.
  static result<event_stream> follow(const endpoints& where, std::uint64_t from, selector what,
                                     follow_policy policy = {});
  event_stream(event_stream&&) noexcept;
  event_stream& operator=(event_stream&&) noexcept;
  ~event_stream();

  /// The next event; nothing when none came within `deadline`.
  /// errc::compacted: history before the oldest kept sequence was asked for. errc::stream_changed:
  /// another journal answers now; follow anew from 1. errc::no_daemon: it is silent and nobody
  /// listens; calling again goes on when it is back.
  result<std::optional<received_event>> next(std::chrono::milliseconds deadline);

  const std::string& stream_id() const;
  /// Every event of the selection up to this sequence was delivered.
  std::uint64_t position() const;
  /// Newest sequence that the daemon announced.
  std::uint64_t head() const;
  /// Times that a gap was filled from history; for tests and curiosity.
  std::uint64_t gaps() const;

private:
  struct impl;
  explicit event_stream(std::unique_ptr<impl> x);
  std::unique_ptr<impl> impl_;
};

} // namespace skep::broker
