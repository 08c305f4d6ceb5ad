#include "sandbox/connect_stream.hpp"

#include "sandbox/wire.hpp"

namespace skep::sandbox {

using std::chrono::milliseconds;

void connect_stream::open(const remote& where, const char* method, std::string_view body,
                          const std::string& user, milliseconds limit,
                          std::optional<milliseconds> whole) {
  const auto& limits = core_.limits();
  exchange plan = rpc(where, method, make_envelope(body), user);
  plan.content_type = "application/connect+json";
  plan.once = true;
  plan.headers.push_back("Keepalive-Ping-Interval: "
                         + std::to_string(limits.keepalive_interval.count()));
  // Absent means no limit; 0 would mean "over already".
  if (limit.count() > 0)
    plan.headers.push_back("Connect-Timeout-Ms: " + std::to_string(limit.count()));
  const auto first = limits.of(op_).deadline;
  plan.stream_limits = http_limits::streaming(first, limits.stream_idle, whole);
  plan.on_data = [self = shared_from_this()](std::string_view bytes) { return self->take(bytes); };
  core_.set_stream(id_, shared_from_this());
  core_.engine().after(first, [weak = weak_from_this(), first] {
    auto self = weak.lock();
    if (self && self->alive() && !self->started_)
      self->broken(
          make_error(errc::timed_out, "no answer within " + std::to_string(first.count()) + " ms"));
  });
  core_.send(id_, std::move(plan), [self = shared_from_this()](http_answer&, const error& failure) {
    self->exchange_over(failure);
  });
}

void connect_stream::mark_started() {
  started_ = true;
  watch_idle(core_.limits().stream_idle);
}

void connect_stream::watch_idle(milliseconds delay) {
  core_.engine().after(delay, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->look();
  });
}

void connect_stream::look() {
  if (!alive()) return;
  const auto idle = core_.limits().stream_idle;
  const auto now = core_.engine().now();
  if (paused_) return watch_idle(idle);
  if (now - last_message_ >= idle)
    return broken(
        make_error(errc::timed_out, "no message within " + std::to_string(idle.count()) + " ms"));
  watch_idle(std::chrono::ceil<milliseconds>(last_message_ + idle - now));
}

flow connect_stream::take(std::string_view bytes) {
  if (reader_.ended() || !alive()) return flow::go_on; // nobody listens any more
  reader_.feed(bytes);
  pump();
  return paused_ ? flow::pause : flow::go_on;
}

bool connect_stream::resume() {
  if (!std::exchange(paused_, false)) return false;
  last_message_ = core_.engine().now();
  pump();
  if (paused_ || !alive()) return false;
  if (over_) {
    exchange_over(*over_);
    return false;
  }
  return true;
}

void connect_stream::pump() {
  while (!paused_ && alive()) {
    auto x = reader_.next();
    if (!x) break;
    last_message_ = core_.engine().now();
    if (!x->end_of_stream) {
      message(x->payload);
    } else if (auto fine = wire::read_end_of_stream(x->payload); !fine) {
      broken(fine.err());
    } else {
      ended_well();
    }
  }
  if (reader_.bad() && alive())
    broken(make_error(errc::protocol, "the stream's envelopes are not understood"));
}

void connect_stream::exchange_over(const error& failure) {
  if (!alive()) return;
  if (paused_) { // what we hold comes first
    over_ = failure;
    return;
  }
  broken(failure ? failure : make_error(errc::protocol, "the stream ended too early"));
}

void connect_stream::broken(error why) {
  explain(why);
  core_.fail(id_, std::move(why));
}

} // namespace skep::sandbox
