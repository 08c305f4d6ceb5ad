#include "broker/output_client.hpp"

#include "broker/zmq_io.hpp"

#include <algorithm>
#include <deque>

namespace skep::broker {

using steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct output_stream::impl {
  /// Where a watched pane is.
  struct place {
    std::uint32_t generation = 0; ///< 0: not known yet.
    std::uint64_t offset = 0;
    std::int64_t first = 0;   ///< Asked start, until the generation is known.
    std::uint32_t newest = 0; ///< Newest generation that was seen live.
    bool behind = true;       ///< Bytes at `offset` have to be read from the log.
    bool closed = false;
  };

  endpoints where;
  selector what;
  output_policy policy;
  control_client control;
  zmq::context_t context{1};
  zmq::socket_t socket;
  std::map<pane_id, place> panes;
  std::deque<pane_output> ready;
  steady::time_point next_check = steady::now();

  impl(endpoints w, selector s, output_policy p)
      : where(std::move(w)), what(std::move(s)), policy(p), control(where.control) {}

  void connect() {
    socket = zmq::socket_t{context, zmq::socket_type::sub};
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::reconnect_ivl, 50);
    socket.set(zmq::sockopt::subscribe, topic_prefix('o', what));
    socket.connect("ipc://" + where.events);
  }

  /// Takes a live piece when it is the next one; otherwise the log will be read.
  void take(const output_frame& f) {
    auto i = panes.find(f.pane);
    if (i == panes.end()) return;
    auto& p = i->second;
    p.newest = std::max(p.newest, f.generation);
    auto end = f.offset + f.data.size();
    if (p.behind || f.generation < p.generation) return;
    if (f.generation > p.generation || f.offset > p.offset) {
      p.behind = true;
      return;
    }
    if (end <= p.offset) return;
    ready.push_back({f.pane, p.generation, p.offset,
                     std::string{f.data.substr(static_cast<std::size_t>(p.offset - f.offset))}, 0});
    p.offset = end;
  }

  bool receive() {
    zmq::message_t part;
    if (!receive_now(socket, part)) return false;
    if (auto f = decode_output(part.to_string_view())) take(*f);
    return true;
  }

  error read_log(const pane_id& pane, place& p) {
    constexpr std::uint32_t piece = 256 * 1024;
    bool known = p.generation != 0;
    log_read_request ask{pane, p.generation, known ? static_cast<std::int64_t>(p.offset) : p.first,
                         piece};
    auto reply = control.call_paced(ask, policy.read);
    if (!reply) return reply.err();
    std::uint64_t dropped = 0;
    if (ask.offset >= 0 && reply->begin_offset > static_cast<std::uint64_t>(ask.offset)
        && reply->offset == reply->begin_offset)
      dropped = reply->offset - static_cast<std::uint64_t>(ask.offset);
    p.generation = reply->generation;
    p.newest = std::max(p.newest, p.generation);
    p.offset = reply->offset + reply->data.data.size();
    p.closed = reply->closed && p.offset >= reply->end_offset;
    p.behind = p.offset < reply->end_offset && !reply->data.data.empty();
    if (!reply->data.data.empty())
      ready.push_back({pane, p.generation, reply->offset, std::move(reply->data.data), dropped});
    if (p.closed && p.newest > p.generation) {
      p = {p.generation + 1, 0, 0, p.newest, true, false};
    }
    return {};
  }

  /// After a silence the log is asked: the last pieces may have been lost, a new attempt may
  /// have begun.
  error recheck() {
    next_check = steady::now() + policy.recheck;
    for (auto& [pane, p] : panes) {
      if (!p.closed) {
        p.behind = true;
        continue;
      }
      log_read_request newest{pane, 0, 0, 1};
      auto reply = control.call_paced(newest, policy.read);
      if (!reply) return reply.err();
      if (reply->generation > p.generation)
        p = {p.generation + 1, 0, 0, reply->generation, true, false};
    }
    return {};
  }

  result<std::optional<pane_output>> next(milliseconds deadline) {
    auto end = steady::now() + deadline;
    for (;;) {
      if (!ready.empty()) {
        auto out = std::move(ready.front());
        ready.pop_front();
        return std::optional{std::move(out)};
      }
      bool read = false;
      for (auto& [pane, p] : panes) {
        if (!p.behind) continue;
        if (auto e = read_log(pane, p)) return e;
        read = true;
      }
      if (read) {
        next_check = steady::now() + policy.recheck;
        continue;
      }
      if (receive()) {
        next_check = steady::now() + policy.recheck;
        continue;
      }
      auto now = steady::now();
      if (now >= next_check) {
        if (auto e = recheck()) return e;
        continue;
      }
      if (now >= end) return std::optional<pane_output>{};
      auto left = std::chrono::ceil<milliseconds>(std::min(end, next_check) - now);
      wait_ready(socket, ZMQ_POLLIN, left);
    }
  }
};

output_stream::output_stream(std::unique_ptr<impl> x) : impl_(std::move(x)) {}
output_stream::output_stream(output_stream&&) noexcept = default;
output_stream& output_stream::operator=(output_stream&&) noexcept = default;
output_stream::~output_stream() = default;

result<output_stream> output_stream::open(const endpoints& where, selector what,
                                          output_policy policy) {
  if (auto e = listener_refused(where.events)) return e;
  auto x = std::make_unique<impl>(where, std::move(what), policy);
  try {
    x->connect();
  } catch (const zmq::error_t& e) {
    return zmq_failed(e);
  }
  return output_stream{std::move(x)};
}

void output_stream::watch(const pane_id& pane, std::int64_t offset) {
  impl_->panes[pane] = {0, 0, offset, 0, true, false};
}

result<std::optional<pane_output>> output_stream::next(milliseconds deadline) {
  try {
    return impl_->next(deadline);
  } catch (const zmq::error_t& e) {
    return zmq_failed(e);
  }
}

bool output_stream::done() const {
  return impl_->ready.empty()
         && std::all_of(impl_->panes.begin(), impl_->panes.end(),
                        [](const auto& x) { return x.second.closed && !x.second.behind; });
}

} // namespace skep::broker
