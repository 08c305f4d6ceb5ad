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
    bool unsure = false; ///< Once it has ended it is to be asked whether another attempt began.
    steady::time_point last_heard = steady::now(); ///< Of its last frame or answer.

    /// At the beginning of the attempt after this one; `seen` is the newest.
    void go_on(std::uint32_t seen) {
      ++generation;
      offset = 0;
      newest = seen;
      behind = true;
      closed = false;
    }
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
  pane_id last_checked; ///< The silent panes behind it are the next to be asked.

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
    p.last_heard = steady::now();
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
    p.last_heard = steady::now();
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
    if (p.closed && p.newest > p.generation) p.go_on(p.newest);
    return {};
  }

  /// Has some of the panes asked again that were silent for long enough, in turn: each pane by its
  /// own silence, so that one that talks withholds nothing of another, and so many at a time that a
  /// large swarm at rest keeps nobody busy.
  void recheck(steady::time_point now) {
    constexpr int rounds = 4; // in the time of policy.recheck
    constexpr std::size_t panes_a_round = 5;
    next_check = now + policy.recheck / rounds;
    auto i = panes.upper_bound(last_checked);
    for (std::size_t looked_at = 0, asked = 0; looked_at < panes.size() && asked < panes_a_round;
         ++looked_at, ++i) {
      if (i == panes.end()) i = panes.begin();
      if (now - i->second.last_heard < policy.recheck) continue;
      (i->second.closed ? i->second.unsure : i->second.behind) = true;
      last_checked = i->first;
      ++asked;
    }
  }

  /// Finds out whether another attempt has followed one whose log ended.
  error look_for_next(const pane_id& pane, place& p) {
    log_read_request newest{pane, 0, 0, 1};
    auto reply = control.call_paced(newest, policy.read);
    if (!reply) return reply.err();
    p.last_heard = steady::now();
    if (reply->generation > p.generation)
      p.go_on(reply->generation); // and unsure still, once that one has ended
    else
      p.unsure = false;
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
      auto now = steady::now();
      if (now >= next_check) recheck(now);
      bool read = false;
      for (auto& [pane, p] : panes) {
        if (p.closed && p.unsure && !p.behind)
          if (auto e = look_for_next(pane, p)) return e;
        if (!p.behind) continue;
        if (auto e = read_log(pane, p)) return e;
        read = true;
      }
      if (read) continue;
      if (receive()) continue;
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

void output_stream::watch(const pane_id& pane, std::int64_t offset, std::uint32_t generation) {
  impl::place p;
  p.generation = p.newest = generation;
  if (generation == 0)
    p.first = offset;
  else
    p.offset = static_cast<std::uint64_t>(std::max<std::int64_t>(0, offset));
  impl_->panes[pane] = p;
}

void output_stream::look_again() {
  for (auto& [pane, p] : impl_->panes) {
    p.unsure = true;
    if (!p.closed) p.behind = true;
  }
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
         && std::all_of(impl_->panes.begin(), impl_->panes.end(), [](const auto& x) {
              return x.second.closed && !x.second.behind && !x.second.unsure;
            });
}

} // namespace skep::broker
