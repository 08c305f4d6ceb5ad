#include "host/gateway/connect.hpp"

#include <boost/asio/connect.hpp>

#include <algorithm>

namespace skep::host::gate {
namespace {
constexpr refusal unreachable{502, "api_error", "gateway: the upstream cannot be reached"};
constexpr refusal unverified{502, "api_error",
                             "gateway: the upstream's certificate is not trusted"};
constexpr refusal private_address{403, "permission_error",
                                  "gateway: the upstream has a private address"};
constexpr refusal other_address{403, "permission_error",
                                "gateway: the upstream's address is not allowed"};
constexpr refusal connect_late{504, "timeout_error",
                               "gateway: the upstream did not answer in time"};
} // namespace

asio::ssl::context& client_tls::get() {
  if (!made_) {
    made_ = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
    made_->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2
                       | asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1
                       | asio::ssl::context::no_tlsv1_1);
    made_->set_default_verify_paths();
  }
  return *made_;
}

task<std::optional<refusal>> connect(asio::io_context& io, const endpoint& to, tcp::socket& socket,
                                     std::chrono::milliseconds limit) {
  tcp::resolver resolver(io);
  watchdog watch(io, limit, [&resolver, &socket] {
    error_code ignored;
    resolver.cancel();
    socket.close(ignored);
  });
  error_code ec;
  auto found = co_await resolver.async_resolve(to.host, to.port, into(ec));
  if (watch.expired()) co_return connect_late;
  if (ec) co_return unreachable;
  std::vector<tcp::endpoint> allowed;
  bool any_public = to.any_address;
  for (const auto& entry : found) {
    auto address = entry.endpoint().address();
    bool is_open = to.any_address || is_public(address);
    any_public = any_public || is_open;
    if (is_open && (to.only.empty() || in_ranges(to.only, address)))
      allowed.push_back(entry.endpoint());
  }
  if (!any_public) co_return private_address;
  if (allowed.empty()) co_return other_address;
  co_await asio::async_connect(socket, allowed, into(ec));
  if (watch.expired()) co_return connect_late;
  if (ec) co_return unreachable;
  socket.set_option(tcp::no_delay(true), ec);
  co_return std::nullopt;
}

task<std::optional<refusal>> shake_hands(asio::io_context& io, tls_stream& stream,
                                         const std::string& host, std::chrono::milliseconds limit) {
  watchdog watch(io, limit, [&stream] {
    error_code ignored;
    stream.next_layer().close(ignored);
  });
  error_code ec;
  error_code no_address;
  asio::ip::make_address(host, no_address);
  if (no_address)
    SSL_set_tlsext_host_name(stream.native_handle(), host.c_str()); // SNI takes names only
  stream.set_verify_mode(asio::ssl::verify_peer);
  stream.set_verify_callback(asio::ssl::host_name_verification(host));
  co_await stream.async_handshake(asio::ssl::stream_base::client, into(ec));
  if (watch.expired()) co_return connect_late;
  if (!ec) co_return std::nullopt;
  co_return SSL_get_verify_result(stream.native_handle()) == X509_V_OK ? unreachable : unverified;
}

} // namespace skep::host::gate
