// What an accept loop does when accept fails. Without descriptors the waiting connection stays in
// the queue and the socket stays readable: a loop that only tries again spins, and its client
// hangs.
//
//   accept_guard guard{io};
//   for (;;) {
//     auto socket = co_await acceptor.async_accept(into(ec));
//     if (ec) { co_await guard.failed(acceptor, ec); continue; }
//     guard.accepted();
#pragma once

#include "host/async.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace skep::host {

class accept_guard {
public:
  explicit accept_guard(asio::io_context& io) : timer_(io) { refill(); }
  ~accept_guard() {
    if (reserve_ >= 0) ::close(reserve_);
  }
  accept_guard(const accept_guard&) = delete;
  accept_guard& operator=(const accept_guard&) = delete;

  /// Out of descriptors: gives up its reserve, lets one client in with it and closes it, so that
  /// this one hears an end; takes the reserve back. Then waits 10 ms, doubled up to 1 s while it
  /// goes on.
  template <class Acceptor>
  task<void> failed(Acceptor& acceptor, error_code why) {
    if ((why.value() == EMFILE || why.value() == ENFILE) && reserve_ >= 0) {
      ::close(std::exchange(reserve_, -1));
      int one = ::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (one >= 0) {
        ++turned_away_;
        ::close(one);
      }
    }
    refill();
    timer_.expires_after(std::exchange(wait_, std::min(wait_ * 2, longest)));
    error_code ignored;
    co_await timer_.async_wait(into(ignored));
  }
  void accepted() {
    wait_ = shortest;
    refill();
  }
  /// Clients that were closed for want of a descriptor.
  std::size_t turned_away() const { return turned_away_; }

private:
  static constexpr std::chrono::milliseconds shortest{10}, longest{1000};

  void refill() {
    if (reserve_ < 0) reserve_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  }

  asio::steady_timer timer_;
  std::chrono::milliseconds wait_ = shortest;
  std::size_t turned_away_ = 0;
  int reserve_ = -1;
};

} // namespace skep::host
