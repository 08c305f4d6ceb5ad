// Connecting to an upstream: the name is resolved once, its addresses are checked, and those that
// passed are connected to. So a name that changes its address in between leads nowhere else.
#pragma once

#include "host/gateway/net.hpp"
#include "host/gateway/rules.hpp"

#include <boost/asio/ssl.hpp>

#include <memory>

namespace skep::host::gate {

using tls_stream = asio::ssl::stream<tcp::socket>;

/// Settings of connections to upstreams, made when the first one needs them: most sandboxes reach
/// nothing, and each has a gateway.
class client_tls {
public:
  asio::ssl::context& get();

private:
  std::unique_ptr<asio::ssl::context> made_;
};

/// Resolves and connects within `limit`. Addresses that are not public, this machine's own and
/// those of its IPv6 networks are left out unless the operator named the place. None, or why not.
task<std::optional<refusal>> connect(asio::io_context& io, const endpoint& to, tcp::socket& socket,
                                     std::chrono::milliseconds limit);

/// TLS as a client over a connected stream; the certificate must be for `host`.
task<std::optional<refusal>> shake_hands(asio::io_context& io, tls_stream& stream,
                                         const std::string& host, std::chrono::milliseconds limit);

} // namespace skep::host::gate
