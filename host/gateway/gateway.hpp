// The gateway of one sandbox: the only way from inside to the outside world, and the place where
// real keys are put on requests. It runs outside the sandbox, in the holder's process; skep-envd
// relays a loopback port of the sandbox to its unix socket.
//
//   inside:   POST http://127.0.0.1:PORT/api.example.com/v1/messages   x-api-key: placeholder
//   outside:  POST https://api.example.com/v1/messages                 x-api-key: the real key
//
// Refused requests and failures are answered as {"type":"error","error":{"type":...,"message":...}}
// with the header `x-skep-gateway: 1`; no answer and no log line of the gateway holds a header's
// value.
#pragma once

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace skep::host {

/// What may be reached under one domain, and what is added on the way.
struct gateway_rule {
  std::string domain;                         ///< Lower-case host name, exactly; no wildcard.
  std::map<std::string, std::string> headers; ///< Set on each request in place of the client's own.
  std::vector<std::string> paths; ///< Allowed path prefixes, by whole segments; empty: all.
  /// "http://HOST:PORT" or "https://HOST[:PORT]": goes there instead, also to a private address.
  /// Only an operator may set it.
  std::string upstream_override;
};

/// What went through, since the start.
struct gateway_counts {
  std::uint64_t requests = 0; ///< Forwarded.
  std::uint64_t refused = 0; ///< Answered by the gateway itself, failures of the upstream included.
  std::uint64_t bytes_in = 0;      ///< Body bytes that came from the sandbox.
  std::uint64_t bytes_out = 0;     ///< Body bytes that went to the sandbox.
  std::uint64_t input_tokens = 0;  ///< As answers report them, cache reads and writes included.
  std::uint64_t output_tokens = 0; ///< As answers report them.
};

/// Deadlines and bounds.
struct gateway_policy {
  std::chrono::milliseconds connect{10'000};      ///< Name, connection and TLS handshake together.
  std::chrono::milliseconds idle{600'000};        ///< No byte either way during a request.
  std::chrono::milliseconds client_idle{640'000}; ///< Between requests of a client.
  std::size_t connections = 256;                  ///< Clients at a time; more are closed at once.
};

/// All calls from the io_context's thread.
class gateway {
public:
  /// Takes over `listening_fd` (a unix stream socket). Throws std::invalid_argument for a rule that
  /// holds a malformed domain, header, path or override; its text holds no header value.
  gateway(boost::asio::io_context& io, int listening_fd, std::vector<gateway_rule> rules,
          gateway_policy policy = {});
  /// Stops.
  ~gateway();
  gateway(const gateway&) = delete;
  gateway& operator=(const gateway&) = delete;

  void start();
  /// Stops listening and closes all connections; their coroutines end as the io_context goes on.
  void stop();
  gateway_counts counts() const;

private:
  struct state;
  std::shared_ptr<state> s_;
};

} // namespace skep::host
