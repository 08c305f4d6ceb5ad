#include "host/envd/relay.hpp"

#include "host/envd/handlers.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <charconv>
#include <memory>

namespace skep::envd {

namespace {
using asio::ip::tcp;

template <class A, class B>
struct pair_of {
  A a;
  B b;
};

// One direction. Its end closes the other side's input; an error ends both directions.
template <class From, class To>
task<void> copy(From& from, To& to) {
  std::array<char, 16384> piece;
  error_code ec;
  for (;;) {
    auto n = co_await from.async_read_some(asio::buffer(piece), into(ec));
    if (ec) break;
    co_await asio::async_write(to, asio::buffer(piece.data(), n), into(ec));
    if (ec) break;
  }
  error_code ignored;
  if (ec == asio::error::eof) {
    to.shutdown(To::shutdown_send, ignored);
  } else {
    from.close(ignored);
    to.close(ignored);
  }
}

template <class A, class B>
void relay(asio::io_context& io, A a, B b) {
  auto both = std::make_shared<pair_of<A, B>>(pair_of<A, B>{std::move(a), std::move(b)});
  asio::co_spawn(
      io, [both]() -> task<void> { co_await copy(both->a, both->b); }, asio::detached);
  asio::co_spawn(
      io, [both]() -> task<void> { co_await copy(both->b, both->a); }, asio::detached);
}
} // namespace

gateway_relay::gateway_relay(asio::io_context& io, std::uint16_t port, std::string socket_path)
    : io_(io), acceptor_(io, tcp::endpoint{asio::ip::address_v4::loopback(), port}),
      socket_path_(std::move(socket_path)) {}

void gateway_relay::start() {
  asio::co_spawn(
      io_, [this] { return accept(); }, asio::detached);
}

task<void> gateway_relay::accept() {
  for (;;) {
    error_code ec;
    auto client = co_await acceptor_.async_accept(into(ec));
    if (ec) { // out of descriptors: let some go first
      asio::steady_timer pause(io_, accept_pause);
      co_await pause.async_wait(into(ec));
      continue;
    }
    local_socket gateway(io_);
    asio::local::stream_protocol::endpoint where(socket_path_);
    co_await gateway.async_connect(where, into(ec));
    if (!ec) relay(io_, std::move(client), std::move(gateway));
  }
}

task<void> relay_port(local_socket host, tcp::socket port, std::string early) {
  error_code ec;
  co_await asio::async_write(port, asio::buffer(early), into(ec));
  auto executor = co_await asio::this_coro::executor;
  if (ec) co_return;
  auto both = std::make_shared<pair_of<local_socket, tcp::socket>>(
      pair_of<local_socket, tcp::socket>{std::move(host), std::move(port)});
  asio::co_spawn(
      executor, [both]() -> task<void> { co_await copy(both->b, both->a); }, asio::detached);
  co_await copy(both->a, both->b);
}

task<void> connect_port(services& s, exchange& x) {
  auto target = x.target();
  auto colon = target.rfind(':');
  auto host = target.substr(0, colon);
  unsigned number = 0;
  bool good = colon != std::string_view::npos && (host == "127.0.0.1" || host == "localhost");
  if (good) {
    auto [end, ec] =
        std::from_chars(target.data() + colon + 1, target.data() + target.size(), number);
    good =
        ec == std::errc{} && end == target.data() + target.size() && number > 0 && number < 65536;
  }
  if (!good) fail(400, "CONNECT reaches 127.0.0.1:PORT only");
  // The gateway puts real keys on requests: it is for programs inside, not for who can reach a
  // port.
  if (number == s.settings.gateway_port) fail(403, "this port is not reachable from outside");
  tcp::socket port(s.io);
  tcp::endpoint where(asio::ip::address_v4::loopback(), static_cast<std::uint16_t>(number));
  error_code ec;
  co_await port.async_connect(where, into(ec));
  if (ec) fail(502, "nothing listens on port " + std::to_string(number));
  co_await x.begin_tunnel();
  std::string early;
  auto socket = x.release(early);
  co_await relay_port(std::move(socket), std::move(port), std::move(early));
}

} // namespace skep::envd
