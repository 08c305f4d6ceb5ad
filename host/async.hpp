// The few Asio names that the host and the holder use. Both are one thread with one io_context:
// nothing in this room is locked.
#pragma once

#include <utility> // before asio: its awaitable.hpp uses std::exchange without including it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>

namespace skep::host {

namespace asio = boost::asio;
using boost::system::error_code;
using local_socket = asio::local::stream_protocol::socket;
using local_acceptor = asio::local::stream_protocol::acceptor;

template <class T>
using task = asio::awaitable<T>;

/// Completion token: resume this coroutine and put the outcome into `ec` instead of throwing.
inline auto into(error_code& ec) {
  return asio::redirect_error(asio::use_awaitable, ec);
}

/// Runs `t` on its own. An exception that leaves it is a bug of ours and goes to standard error.
inline void spawn(asio::io_context& io, task<void> t) {
  asio::co_spawn(io, std::move(t), [](std::exception_ptr failure) {
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "skep-host: internal: %s\n", e.what());
    }
  });
}

/// Closes a socket when the time is over, so that whatever waits on it ends with an error. The
/// coroutine that made it may end first.
template <class Socket>
class deadline {
public:
  deadline(Socket& socket, std::chrono::milliseconds limit)
      : timer_(socket.get_executor(), limit), expired_(std::make_shared<bool>(false)) {
    timer_.async_wait([&socket, expired = expired_](error_code ec) {
      if (ec || *expired) return;
      *expired = true;
      error_code ignored;
      socket.close(ignored);
    });
  }
  /// Ends the watch; also when the timer has fired and its handler is queued.
  ~deadline() { *expired_ = true; }
  bool expired() const { return *expired_; }

private:
  asio::steady_timer timer_;
  std::shared_ptr<bool> expired_; // true: fired, or not wanted any more
};

/// What coroutines wait on until somebody notifies. A wake-up may be spurious: test in a loop.
class notifier {
public:
  explicit notifier(asio::io_context& io)
      : timer_(io, std::chrono::steady_clock::time_point::max()) {}
  void notify() { timer_.cancel(); }
  task<void> wait() {
    error_code ec;
    co_await timer_.async_wait(into(ec));
  }

private:
  asio::steady_timer timer_;
};

} // namespace skep::host
