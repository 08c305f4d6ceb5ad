#include "host/gateway/connect.hpp"

#include <boost/asio/connect.hpp>

#include <algorithm>
#include <bit>
#include <ifaddrs.h>
#include <netinet/in.h>

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

namespace {
unsigned bits_of(const sockaddr* mask) {
  unsigned out = 0;
  if (mask && mask->sa_family == AF_INET6)
    for (auto byte : reinterpret_cast<const sockaddr_in6*>(mask)->sin6_addr.s6_addr)
      out += static_cast<unsigned>(std::popcount(byte));
  return out;
}

/// What is ours although its address is public: this machine, whose services may be closed to
/// others by a firewall, and its network where that is IPv6, in which every printer has a public
/// address.
std::vector<address_range> own_ranges() {
  constexpr unsigned largest_network = 48; // bits; a shorter prefix is no local network
  std::vector<address_range> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  for (const auto* i = all; i; i = i->ifa_next) {
    if (!i->ifa_addr) continue;
    if (i->ifa_addr->sa_family == AF_INET) {
      const auto& v4 = reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr;
      out.push_back({asio::ip::address_v4{ntohl(v4.s_addr)}, 32});
    } else if (i->ifa_addr->sa_family == AF_INET6) {
      asio::ip::address_v6::bytes_type bytes;
      const auto& v6 = reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr;
      std::copy(std::begin(v6.s6_addr), std::end(v6.s6_addr), bytes.begin());
      auto bits = bits_of(i->ifa_netmask);
      out.push_back({asio::ip::address_v6{bytes}, bits < largest_network ? 128 : bits});
    }
  }
  ::freeifaddrs(all);
  return out;
}

/// One question for a name. A cancelled one is answered only when the system's resolver has
/// answered, which knows deadlines of its own: so nobody waits for that.
struct lookup {
  explicit lookup(asio::io_context& io) : resolver(io), over(io) {}
  tcp::resolver resolver;
  asio::steady_timer over;
  bool answered = false;
  error_code ec;
  tcp::resolver::results_type found;
};

task<std::shared_ptr<lookup>> look_up(asio::io_context& io, const endpoint& to,
                                      std::chrono::steady_clock::time_point until) {
  auto x = std::make_shared<lookup>(io);
  x->over.expires_at(until);
  x->resolver.async_resolve(to.host, to.port,
                            [x](error_code ec, tcp::resolver::results_type found) {
                              x->answered = true;
                              x->ec = ec;
                              x->found = std::move(found);
                              x->over.cancel();
                            });
  error_code ignored;
  co_await x->over.async_wait(into(ignored));
  if (!x->answered) x->resolver.cancel();
  co_return x;
}
} // namespace

task<std::optional<refusal>> connect(asio::io_context& io, const endpoint& to, tcp::socket& socket,
                                     std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  auto name = co_await look_up(io, to, until);
  if (!name->answered) co_return connect_late;
  if (name->ec) co_return unreachable;
  auto left =
      std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  watchdog watch(io, std::max(left, std::chrono::milliseconds{1}), [&socket] {
    error_code ignored;
    socket.close(ignored);
  });
  error_code ec;
  std::vector<tcp::endpoint> allowed;
  bool any_public = to.any_address;
  const auto own = to.any_address ? std::vector<address_range>{} : own_ranges();
  for (const auto& entry : name->found) {
    auto address = entry.endpoint().address();
    bool is_open = to.any_address || (is_public(address) && !in_ranges(own, address));
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
