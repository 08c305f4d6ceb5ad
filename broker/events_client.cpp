#include "broker/events_client.hpp"

#include "broker/zmq_io.hpp"

#include <algorithm>

namespace skep::broker {

using steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

json to_json(const received_event& e) {
  json out = json::object();
  out["seq"] = e.seq;
  out["swarm"] = e.swarm.value;
  out["sandbox"] = e.sandbox.value;
  out.update(event_to_json(e.event));
  return out;
}

struct event_stream::impl {
  endpoints where;
  selector what;
  follow_policy policy;
  control_client history;
  zmq::context_t context{1};
  zmq::socket_t socket;

  std::string stream;       ///< Empty until something named it.
  std::uint64_t wanted = 1; ///< Events before this one are not delivered.
  std::uint64_t position = 0;
  std::uint64_t head = 0;
  std::uint64_t gaps = 0;
  bool behind = false; ///< History from position + 1 is needed.
  std::deque<received_event> ready;
  steady::time_point last_heard = steady::now();
  steady::time_point next_tail_check{};

  impl(endpoints w, selector s, follow_policy p)
      : where(std::move(w)), what(std::move(s)), policy(p), history(where.replay) {}

  void connect() {
    socket = zmq::socket_t{context, zmq::socket_type::sub};
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::rcvhwm, policy.receive_high_water);
    socket.set(zmq::sockopt::reconnect_ivl, 50);
    // In this order: the beacon that answers the second proves that the first is in force.
    socket.set(zmq::sockopt::subscribe, topic_prefix('e', what));
    socket.set(zmq::sockopt::subscribe, std::string{head_topic});
    socket.connect("ipc://" + where.events);
  }

  error same_stream(const std::string& other) {
    if (stream.empty()) stream = other;
    if (stream == other) return {};
    return make_error(errc::stream_changed, "was " + stream + ", is " + other);
  }

  /// Waits for a frame until `end`; false when none came.
  bool wait(steady::time_point end) {
    auto left = std::chrono::ceil<milliseconds>(end - steady::now());
    return wait_ready(socket, ZMQ_POLLIN, left);
  }

  /// Reads one frame; false when none waits.
  result<bool> receive() {
    zmq::message_t part;
    if (!receive_now(socket, part)) return false;
    last_heard = steady::now();
    auto frame = part.to_string_view();
    if (frame.starts_with(head_topic)) {
      auto beacon = decode_head(frame);
      if (!beacon) return beacon.err();
      if (auto e = same_stream(beacon->stream)) return e;
      head = std::max(head, beacon->head);
      // Whatever was published up to `head` came before the beacon, or was lost.
      if (what.swarm.empty() && head > position && !behind) lost();
      return true;
    }
    auto chunk = decode_event(frame);
    if (!chunk) return chunk.err();
    if (auto e = same_stream(chunk->stream)) return e;
    head = std::max(head, chunk->last_seq());
    if (behind || chunk->last_seq() <= position) return true;
    auto previous = what.swarm.empty()     ? chunk->first_seq - 1
                    : what.sandbox.empty() ? chunk->previous_in_swarm
                                           : chunk->previous_in_sandbox;
    if (previous > position) {
      lost();
      return true;
    }
    if (auto e = take(chunk->swarm, chunk->sandbox, chunk->first_seq, chunk->count, chunk->body))
      return e;
    return true;
  }

  void lost() {
    behind = true;
    ++gaps;
  }

  /// Queues the events of a chunk that were not delivered yet.
  error take(const swarm_id& swarm, const sandbox_id& sandbox, std::uint64_t first,
             std::uint32_t count, std::string_view body) {
    event_reader reader{body};
    auto seq = first;
    for (std::uint32_t i = 0; i < count; ++i, ++seq) {
      auto event = reader.next();
      if (!event) {
        position = std::max(position, first + count - 1); // do not stumble over it again
        return event.err();
      }
      if (seq <= position || seq < wanted) continue;
      ready.push_back({seq, swarm, sandbox, std::move(*event)});
    }
    position = std::max(position, first + count - 1);
    return {};
  }

  /// Reads one page of history.
  error read_page() {
    replay_request ask{position + 1, what.swarm, what.sandbox, policy.page_chunks};
    // A long history is more pages than the daemon admits in a second.
    auto page = history.call_paced(ask, policy.page);
    if (!page) return page.err();
    if (auto e = same_stream(page->stream_id)) return e;
    if (page->oldest > ask.from)
      return make_error(errc::compacted, "oldest=" + std::to_string(page->oldest));
    head = std::max(head, page->head);
    for (const auto& c : page->chunks) {
      if (c.count == 0 || c.last_seq() <= position) continue;
      if (auto e = take(c.swarm, c.sandbox, c.first_seq, c.count, c.body.data)) return e;
    }
    if (page->next <= page->head && page->next <= ask.from)
      return make_error(errc::protocol, "a page of history does not go on");
    // Up to here nothing else belongs to the selection.
    if (page->next > 0) position = std::max(position, std::min(page->next, page->head + 1) - 1);
    behind = page->next <= page->head;
    next_tail_check = steady::now() + policy.tail_check;
    return {};
  }

  result<std::optional<received_event>> next(milliseconds deadline) {
    auto end = steady::now() + deadline;
    for (;;) {
      if (!ready.empty()) {
        auto out = std::move(ready.front());
        ready.pop_front();
        return std::optional{std::move(out)};
      }
      auto now = steady::now();
      if (!behind && head > position && now >= next_tail_check) behind = true;
      if (behind) {
        if (auto e = read_page()) return e;
        continue;
      }
      auto got = receive();
      if (!got) return got.err();
      if (*got) continue;
      if (now >= end) return std::optional<received_event>{};
      auto until = std::min(end, last_heard + policy.silence);
      if (head > position) until = std::min(until, next_tail_check);
      if (!wait(until) && steady::now() - last_heard >= policy.silence) {
        last_heard = steady::now();
        if (auto e = listener_refused(where.events)) return e;
      }
    }
  }

  error join(std::uint64_t from) {
    if (auto e = listener_refused(where.events)) return e;
    connect();
    wanted = from;
    position = from > 0 ? from - 1 : ~std::uint64_t{0}; // until the beacon says where we are
    behind = true;                                      // frames before the beacon only set `head`
    auto end = steady::now() + policy.join;
    while (stream.empty()) {
      if (!wait(end) && steady::now() >= end)
        return make_error(errc::timed_out, "skepd sent no head beacon");
      auto got = receive();
      if (!got) return got.err();
    }
    if (from == 0) {
      position = head;
      behind = false;
    }
    next_tail_check = steady::now() + policy.tail_check;
    return {};
  }
};

event_stream::event_stream(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
event_stream::event_stream(event_stream&&) noexcept = default;
event_stream& event_stream::operator=(event_stream&&) noexcept = default;
event_stream::~event_stream() = default;

result<event_stream> event_stream::follow(const endpoints& where, std::uint64_t from, selector what,
                                          follow_policy policy) {
  if (!what.sandbox.empty() && what.swarm.empty())
    return make_error(errc::bad_argument, "a sandbox is selected together with its swarm");
  auto x = std::make_unique<impl>(where, std::move(what), policy);
  try {
    if (auto e = x->join(from)) return e;
  } catch (const zmq::error_t& e) {
    return zmq_failed(e);
  }
  return event_stream{std::move(x)};
}

result<std::optional<received_event>> event_stream::next(milliseconds deadline) {
  try {
    return impl_->next(deadline);
  } catch (const zmq::error_t& e) {
    return zmq_failed(e);
  }
}

const std::string& event_stream::stream_id() const {
  return impl_->stream;
}
std::uint64_t event_stream::position() const {
  return impl_->position;
}
std::uint64_t event_stream::head() const {
  return impl_->head;
}
std::uint64_t event_stream::gaps() const {
  return impl_->gaps;
}

} // namespace skep::broker
