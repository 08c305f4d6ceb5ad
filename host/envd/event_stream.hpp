// What flows to one client in a server-streaming answer, and how it is sent: events as they come,
// keepalives in silence, an end, a deadline.
//
//   event_feed (of a process) ──> event_queue, one a client ──> run_stream ──> the connection
//   watcher (of a directory) ─────────────────────────────────────^
#pragma once

#include "host/envd/exchange.hpp"
#include "host/envd/pause_clock.hpp"
#include "messages/json.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace skep::envd {

inline constexpr std::string_view stream_type = "application/connect+json";

/// Time allowed by Connect-Timeout-Ms; none when absent or 0. Throws rpc_failure{invalid_argument}.
std::optional<std::chrono::milliseconds> time_allowed(const exchange& x);

/// One client of a stream: where its envelopes come from.
class stream_client : public std::enable_shared_from_this<stream_client> {
public:
  explicit stream_client(asio::io_context& io) : wake(io) {}
  virtual ~stream_client() = default;
  /// The next envelope; null when none waits.
  virtual std::shared_ptr<const std::string> next() = 0;
  /// Asked when none waits: true when there will be no more. Throws rpc_failure where the stream
  /// cannot go on.
  virtual bool complete() const = 0;
  /// Ends the stream without its end: the client went away, or has to (before a pause).
  void let_go() {
    gone = true;
    wake.notify();
  }

  notifier wake; ///< Something was queued, or the stream is over.
  bool gone = false;
};

struct stream_terms {
  std::optional<std::chrono::milliseconds> limit;
  const pause_clock& time;  ///< What `limit` is measured by.
  std::string opening = {}; ///< Sent first, unless empty.
  std::string keepalive;    ///< Sent after each silence of Keepalive-Ping-Interval (90 s).
  /// Instead of writing an envelope of the client to the exchange; for rehearsals.
  std::function<task<void>(std::shared_ptr<const std::string>)> write = {};
  /// True: the connection closes without an end; for rehearsals.
  std::function<bool()> cut = {};
  /// Asked when the client is complete. True: it ended by the limit, and that is what is said.
  std::function<bool()> overdue = {};
  /// Asked while the client is not complete. True: its end came in time and is on its way, which is
  /// waited for a little beyond the limit.
  std::function<bool()> ending = {};
};

/// Answers `x` with the client's envelopes until it is complete. Throws rpc_failure
/// (deadline_exceeded, or the client's own) and peer_gone. All three outlive the call.
task<void> run_stream(exchange& x, stream_client& client, const stream_terms& terms);

/// The envelopes of one process for one client.
class event_queue : public stream_client {
public:
  event_queue(asio::io_context& io, notifier& taken) : stream_client(io), taken_(taken) {}
  std::shared_ptr<const std::string> next() override;
  bool complete() const override { return last_; }

private:
  friend class event_feed;
  std::deque<std::shared_ptr<const std::string>> queue_;
  notifier& taken_;   ///< Of the feed, which outlives its clients' streams.
  bool last_ = false; ///< The end event is, or was, the last in the queue.
};

/// The events of one process and those who listen to them. An event's text is made once for all.
class event_feed {
public:
  explicit event_feed(asio::io_context& io) : room_changed(io), io_(io) {}

  /// A new listener; it gets `start` at once, and the end when there was one.
  std::shared_ptr<event_queue> attach(const json& start);
  void detach(const std::shared_ptr<event_queue>& who);
  /// To all who listen; nothing when nobody does.
  void publish(const json& event);
  /// The last event; to all who listen and all who come later.
  void end(const json& event);
  bool ended() const { return end_ != nullptr; }
  bool heard() const { return !listeners_.empty(); }
  /// False while one of the listeners has enough to read; see room_changed.
  bool room() const;
  /// Lets the clients of all listeners go without an end of the stream.
  void drop();

  notifier room_changed;

private:
  asio::io_context& io_;
  std::vector<std::shared_ptr<event_queue>> listeners_;
  std::shared_ptr<const std::string> end_;
};

/// Sends the events of a process to one client; detaches it however that ends. All outlive the
/// call.
task<void> stream_feed(exchange& x, event_feed& of, const std::shared_ptr<event_queue>& to,
                       const stream_terms& terms);

/// The keepalive of a stream of process events.
std::string event_keepalive();

} // namespace skep::envd
