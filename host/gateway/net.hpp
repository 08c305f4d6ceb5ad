// The Asio and Beast names of the gateway's sources, and its two tools: a wake-up and a watchdog.
#pragma once

#include <utility> // Boost 1.74's awaitable.hpp forgets it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace skep::host::gate {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using local_socket = asio::local::stream_protocol::socket;
template <class T>
using task = asio::awaitable<T>;

inline auto into(error_code& ec) {
  return asio::redirect_error(asio::use_awaitable, ec);
}

/// Calls `expire` when nobody has called progress() for `limit`. Ends with its owner.
class watchdog {
public:
  watchdog(asio::io_context& io, std::chrono::milliseconds limit, std::function<void()> expire)
      : s_(std::make_shared<state>(io, limit, std::move(expire))) {
    progress();
    wait(s_);
  }
  ~watchdog() {
    s_->expire = nullptr;
    s_->timer.cancel();
  }
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  /// Cheap: only a clock is read; the timer is moved when it fires.
  void progress() { s_->last = std::chrono::steady_clock::now(); }
  /// While it is held it does not expire; let go, it begins anew.
  void hold(bool held) {
    s_->held = held;
    progress();
  }
  bool expired() const { return s_->expired; }

private:
  struct state {
    state(asio::io_context& io, std::chrono::milliseconds l, std::function<void()> e)
        : timer(io), limit(l), expire(std::move(e)) {}
    asio::steady_timer timer;
    std::chrono::milliseconds limit;
    std::function<void()> expire;
    std::chrono::steady_clock::time_point last;
    bool held = false;
    bool expired = false;
  };
  static void wait(const std::shared_ptr<state>& s) {
    s->timer.expires_at(s->last + s->limit);
    s->timer.async_wait([s](error_code ec) {
      if (ec || !s->expire) return;
      if (s->held) s->last = std::chrono::steady_clock::now();
      if (std::chrono::steady_clock::now() < s->last + s->limit) return wait(s);
      s->expired = true;
      std::exchange(s->expire, nullptr)();
    });
  }
  std::shared_ptr<state> s_;
};

} // namespace skep::host::gate
