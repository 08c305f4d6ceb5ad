// One request on its way through the gateway: to the upstream and back, both ways at once, piece by
// piece.
#pragma once

#include "host/gateway/connect.hpp"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

namespace skep::host::gate {

namespace beast = boost::beast;
namespace http = beast::http;

/// Of a request and of an answer.
inline constexpr std::uint32_t header_limit_bytes = 64U << 10;
/// What is read from a connection at a time, at least.
inline constexpr std::size_t read_ahead_bytes = 16U << 10;

/// A client's connection and the request that it is in.
struct client {
  explicit client(local_socket s) : socket(std::move(s)) {}
  local_socket socket;
  beast::flat_buffer buffer;
  std::optional<http::request_parser<http::buffer_body>> request;
  bool expects_continue = false;
  bool keep_alive = true;
  bool answered = false;              ///< The header of the answer has been sent.
  bool uses_key = false;              ///< Its request is under a rule.
  bool cut = false;                   ///< Its request must not go on.
  std::function<void()> cut_transfer; ///< Ends a request that is on its way; may be empty.
};

/// The refusal of requests whose key was taken away.
inline constexpr refusal keys_revoked{403, "permission_error",
                                      "gateway: the keys of this sandbox were revoked"};

/// What a forwarded request needs from the gateway.
struct forward_context {
  asio::io_context& io;
  client_tls& tls;
  const gateway_policy& policy;
  gateway_counts& counts;
  spend_ledger& spend;
};

/// Forwards the request whose header has been read and passes the answer on. A failure before the
/// answer's header is returned as a refusal; after it the client's connection is closed, which
/// shows in `client.keep_alive`.
task<std::optional<refusal>> forward(forward_context& g, std::shared_ptr<client> c,
                                     const route& to);

/// True when the framing of a request leaves no doubt where its body ends.
bool is_sound(const http::request_parser<http::buffer_body>& request);

} // namespace skep::host::gate
