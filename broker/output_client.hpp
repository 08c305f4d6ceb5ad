// Following the output of panes: what the daemon's log already has, then live, every byte once and
// in order of its offset. One object is used by one thread.
//
//   auto out = output_stream::open(endpoints_of(state_dir), {swarm, sandbox});
//   out->watch(pane, -64 * 1024);
//   while (auto piece = out->next(1s)) { if (*piece) write((*piece)->data); else if (out->done())
//   break; }
#pragma once

#include "broker/client.hpp"
#include "broker/frames.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <optional>

namespace skep::broker {

/// A piece of a pane's log. `offset` is its place in the log of `generation`.
struct pane_output {
  pane_id pane;
  std::uint32_t generation = 0;
  std::uint64_t offset = 0;
  std::string data; ///< Not empty.
  /// Bytes before `offset` that were asked for and are not kept any more.
  std::uint64_t dropped_bytes = 0;
};

struct output_policy {
  std::chrono::milliseconds read{10'000}; ///< For one log.read, with waits for the rate.
  /// Silence of a pane after which its log is asked again: its last pieces may have been lost, a
  /// new attempt may have begun. Of many silent panes 20 are asked in this time, in turn.
  std::chrono::milliseconds recheck{1000};
};

class output_stream {
public:
  /// Subscribes to the output of a swarm, or of one of its sandboxes.
  /// errc::no_daemon: nobody listens. errc::io: as listener_refused() says.
  static result<output_stream> open(const endpoints& where, selector what, output_policy = {});
  output_stream(output_stream&&) noexcept;
  output_stream& operator=(output_stream&&) noexcept;
  ~output_stream();

  /// Delivers this pane's log of attempt `generation` (0: the newest) from `offset` on (negative:
  /// so many bytes before its end, of the newest alone), and the logs of later attempts from their
  /// beginning.
  void watch(const pane_id& pane, std::int64_t offset = 0, std::uint32_t generation = 0);

  /// Has every watched log asked once more, however many there are, before done() is true again:
  /// for whoever knows that nothing is written any more.
  void look_again();

  /// The next piece of any watched pane; nothing when none came within `deadline`. Errors are those
  /// of log.read; after errc::no_daemon and errc::timed_out calling again goes on.
  result<std::optional<pane_output>> next(std::chrono::milliseconds deadline);

  /// True when the logs of all watched panes ended and everything was delivered. A pane that
  /// waits for another attempt counts as ended until that attempt begins: whether there will be one
  /// is told by the events.
  bool done() const;

private:
  struct impl;
  explicit output_stream(std::unique_ptr<impl> x);
  std::unique_ptr<impl> impl_;
};

} // namespace skep::broker
