#include "host/gateway/tunnel.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>

#include <vector>

namespace skep::host::gate {

namespace {
constexpr refusal tunnel_cut{403, "permission_error", "gateway: this host is not allowed any more"};
} // namespace

void tunnel::close() {
  closed_ = true;
  error_code ignored;
  up_.close(ignored);
  if (client_->answered) client_->socket.close(ignored);
}

task<std::optional<refusal>> tunnel::run(endpoint where) {
  auto self = shared_from_this();
  auto failure = co_await connect(g_.io, where, up_, g_.policy.connect);
  if (closed_) co_return tunnel_cut;
  if (failure) co_return failure;
  client_->keep_alive = false;
  client_->answered = true;
  ++g_.counts.tunnels;
  watchdog idle(g_.io, g_.policy.tunnel_idle, [self] { self->close(); });
  error_code ec;
  std::string_view yes = "HTTP/1.1 200 Connection established\r\n\r\n";
  co_await asio::async_write(client_->socket, asio::buffer(yes.data(), yes.size()), into(ec));
  if (!ec && client_->buffer.size() > 0) { // sent before the answer
    g_.counts.bytes_in += client_->buffer.size();
    co_await asio::async_write(up_, client_->buffer.data(), into(ec));
    client_->buffer.consume(client_->buffer.size());
  }
  if (!ec) {
    one_over_.expires_at(std::chrono::steady_clock::time_point::max());
    open_ways_ = 2;
    asio::co_spawn(
        g_.io,
        [self, &idle] {
          return self->pass(self->client_->socket, self->up_, self->g_.counts.bytes_in, idle);
        },
        asio::detached);
    co_await pass(up_, client_->socket, g_.counts.bytes_out, idle);
    while (open_ways_ > 0)
      co_await one_over_.async_wait(into(ec));
  }
  close();
  co_return std::nullopt;
}

template <class From, class To>
task<void> tunnel::pass(From& from, To& to, std::uint64_t& count, watchdog& idle) {
  auto self = shared_from_this();
  std::vector<char> piece(read_ahead_bytes);
  error_code ec;
  while (!ec) {
    auto n = co_await from.async_read_some(asio::buffer(piece), into(ec));
    if (ec) break;
    idle.progress();
    count += n;
    co_await asio::async_write(to, asio::buffer(piece.data(), n), into(ec));
    idle.progress();
  }
  error_code ignored;
  if (ec == asio::error::eof)
    to.shutdown(asio::socket_base::shutdown_send, ignored); // the other way may go on
  else
    close();
  --open_ways_;
  one_over_.cancel();
}

} // namespace skep::host::gate
