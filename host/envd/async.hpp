// The few Asio names that all of skep-envd uses, and the wake-up that its coroutines wait on.
// One thread, one io_context: nothing here is locked.
#pragma once

#include <utility> // Boost 1.74's awaitable.hpp forgets it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>

namespace skep::envd {

namespace asio = boost::asio;
using boost::system::error_code;
using local_socket = asio::local::stream_protocol::socket;
using clock = std::chrono::steady_clock;

template <class T>
using task = asio::awaitable<T>;

/// How long a listener rests when it can accept nothing: then descriptors are short.
inline constexpr std::chrono::seconds accept_pause{1};

/// Completion token: resume this coroutine and put the outcome into `ec` instead of throwing.
inline auto into(error_code& ec) {
  return asio::redirect_error(asio::use_awaitable, ec);
}

/// A condition variable of coroutines. A wake-up may be spurious: test the condition in a loop.
class notifier {
public:
  explicit notifier(asio::io_context& io) : timer_(io, clock::time_point::max()) {}
  void notify() { timer_.cancel(); }
  /// Waits for notify().
  task<void> wait() {
    error_code ec;
    co_await timer_.async_wait(into(ec));
  }
  /// Waits for notify() or until `deadline`. For one waiter at a time.
  task<void> wait_until(clock::time_point deadline) {
    timer_.expires_at(deadline);
    error_code ec;
    co_await timer_.async_wait(into(ec));
  }

private:
  asio::steady_timer timer_;
};

} // namespace skep::envd
