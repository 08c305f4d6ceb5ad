#include "host/envd/event_stream.hpp"

#include "host/envd/connect_rpc.hpp"

#include <algorithm>
#include <charconv>

namespace skep::envd {
namespace {

constexpr std::size_t listener_pieces = 4; ///< Queued for one listener before reading stops.
/// For what is still to be read and sent of a process that ended within its limit.
constexpr std::chrono::seconds ending_grace{3};

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::chrono::seconds keepalive_interval(const exchange& x) {
  auto seconds = number(x.header("Keepalive-Ping-Interval"));
  return std::chrono::seconds{seconds && *seconds > 0 && *seconds < 86400 ? *seconds : 90};
}

std::shared_ptr<const std::string> event_envelope(const json& event) {
  return std::make_shared<const std::string>(envelope(0, dump(json{{"event", event}})));
}

/// Keeps the client's listening from outliving the request, however that ends.
struct watching {
  exchange& x;
  ~watching() { x.stop_watching(); }
};

struct attachment {
  event_feed& of;
  std::shared_ptr<event_queue> to;
  ~attachment() { of.detach(to); }
};

} // namespace

std::optional<std::chrono::milliseconds> time_allowed(const exchange& x) {
  if (!x.has_header("Connect-Timeout-Ms")) return std::nullopt;
  auto text = x.header("Connect-Timeout-Ms");
  auto ms = number(text);
  if (!ms || *ms < 0 || text.size() > 10)
    fail(rpc_code::invalid_argument, "Connect-Timeout-Ms is no number of at most 10 digits");
  if (*ms == 0) return std::nullopt;
  return std::chrono::milliseconds{*ms};
}

task<void> run_stream(exchange& x, stream_client& client, const stream_terms& terms) {
  watching here{x};
  auto interval = keepalive_interval(x);
  auto deadline = terms.limit ? terms.time.now() + *terms.limit : clock::time_point::max();
  co_await x.begin_stream(200, stream_type);
  x.watch_peer([weak = client.weak_from_this()] {
    if (auto peer = weak.lock()) peer->let_go();
  });
  if (!terms.opening.empty()) co_await x.write(terms.opening);
  auto keepalive_at = clock::now() + interval;
  for (;;) {
    if (client.gone || (terms.cut && terms.cut())) throw peer_gone{};
    if (auto text = client.next()) {
      if (terms.write)
        co_await terms.write(text);
      else
        co_await x.write(*text);
      keepalive_at = clock::now() + interval;
      continue;
    }
    auto left = deadline - terms.time.now();
    if (terms.limit && terms.ending && terms.ending()) left += ending_grace;
    auto late = client.complete() ? terms.overdue && terms.overdue()
                                  : terms.limit && left <= clock::duration::zero();
    if (late) fail(rpc_code::deadline_exceeded, "context deadline exceeded");
    if (client.complete()) break;
    if (clock::now() >= keepalive_at) {
      co_await x.write(terms.keepalive);
      keepalive_at = clock::now() + interval;
      continue;
    }
    // The sooner of the two; a far deadline added to this clock's time would not fit its type.
    auto to_keepalive = keepalive_at - clock::now();
    co_await client.wake.wait_until(
        clock::now()
        + (terms.limit ? std::min<clock::duration>(left, to_keepalive) : to_keepalive));
  }
  auto end = end_of_stream();
  co_await x.write(end);
  co_await x.end_stream();
}

std::shared_ptr<const std::string> event_queue::next() {
  if (queue_.empty()) return nullptr;
  auto text = std::move(queue_.front());
  queue_.pop_front();
  taken_.notify();
  return text;
}

std::shared_ptr<event_queue> event_feed::attach(const json& start) {
  auto l = std::make_shared<event_queue>(io_, room_changed);
  l->queue_.push_back(event_envelope(start));
  if (end_) {
    l->queue_.push_back(end_);
    l->last_ = true;
  } else {
    listeners_.push_back(l);
  }
  return l;
}

void event_feed::detach(const std::shared_ptr<event_queue>& who) {
  std::erase(listeners_, who);
  room_changed.notify();
}

void event_feed::publish(const json& event) {
  if (listeners_.empty()) return;
  auto text = event_envelope(event);
  for (auto& l : listeners_) {
    l->queue_.push_back(text);
    l->wake.notify();
  }
}

void event_feed::end(const json& event) {
  end_ = event_envelope(event);
  for (auto& l : listeners_) {
    l->queue_.push_back(end_);
    l->last_ = true;
    l->wake.notify();
  }
  listeners_.clear();
}

bool event_feed::room() const {
  return std::all_of(listeners_.begin(), listeners_.end(),
                     [](const auto& l) { return l->queue_.size() < listener_pieces; });
}

void event_feed::drop() {
  for (auto& l : listeners_)
    l->let_go();
}

task<void> stream_feed(exchange& x, event_feed& of, const std::shared_ptr<event_queue>& to,
                       const stream_terms& terms) {
  attachment here{of, to};
  co_await run_stream(x, *to, terms);
}

std::string event_keepalive() {
  return envelope(0, R"({"event":{"keepalive":{}}})");
}

} // namespace skep::envd
