// The gateway of one sandbox: the only way from inside to the outside world, and the place where
// real keys are put on requests. It runs outside the sandbox, in the holder's process; skep-envd
// relays a loopback port of the sandbox to its unix socket.
//
//   inside:   POST http://127.0.0.1:PORT/api.example.com/v1/messages   x-api-key: placeholder
//   outside:  POST https://api.example.com/v1/messages                 x-api-key: the real key
//
//   inside:   CONNECT files.example.com:443        outside: a tunnel to it, when it is listed
//
// Refused requests and failures are answered as {"type":"error","error":{"type":...,"message":...}}
// with the header `x-skep-gateway: 1`; no answer and no log line of the gateway holds a header's
// value.
#pragma once

#include "host/gateway/spend.hpp"

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
  /// Allowed path prefixes, by whole segments; with `$` at the end, that path alone. Empty: all.
  std::vector<std::string> paths;
  /// "http://HOST:PORT" or "https://HOST[:PORT]": goes there instead, also to a private address.
  /// Only an operator may set it.
  std::string upstream_override;
};

/// Hosts to which programs inside may open a connection of their own (CONNECT HOST:PORT, or plain
/// HTTP as through any proxy): the gateway sees no more of it than host and port, and adds no key.
/// Addresses that are not public are refused whatever is listed.
struct tunnel_rules {
  std::vector<std::string> hosts;  ///< Names, or "*." before one for all hosts below it.
  std::vector<std::string> ranges; ///< "1.2.3.4", "1.2.3.0/24"; "0.0.0.0/0": every host.
  std::vector<std::uint16_t> ports{443, 80};
  /// Other targets for hosts that are listed, as gateway_rule::upstream_override; their scheme and
  /// path do not count. Only an operator may set them.
  std::map<std::string, std::string> upstreams;
};

/// All that may be reached. A host with a rule is reached by the rule alone.
struct gateway_access {
  std::vector<gateway_rule> rules;
  tunnel_rules tunnels;
};

/// What went through, since the start.
struct gateway_counts {
  std::uint64_t requests = 0; ///< Forwarded.
  std::uint64_t refused = 0; ///< Answered by the gateway itself, failures of the upstream included.
  std::uint64_t tunnels = 0; ///< Opened.
  std::uint64_t bytes_in = 0;  ///< Bytes of bodies and tunnels that came from the sandbox.
  std::uint64_t bytes_out = 0; ///< Bytes of bodies and tunnels that went to the sandbox.
  /// As answers report them, cache reads and writes included; of calls without figures an estimate.
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0; ///< As answers report them, or an estimate.
};

/// Deadlines and bounds.
struct gateway_policy {
  std::chrono::milliseconds connect{10'000}; ///< Name and connection; TLS has as long again.
  /// No byte either way during a request; also how long one waits for room in the allowance.
  std::chrono::milliseconds idle{600'000};
  std::chrono::milliseconds client_idle{640'000}; ///< Between requests of a client.
  /// A model's answer whose client has gone is read on for so long, and so many bytes, since what
  /// it cost stands at its end.
  std::chrono::milliseconds drain{10'000};
  std::size_t drain_bytes = 4u << 20;
  std::size_t connections = 256;                  ///< Clients at a time; more are closed at once.
  std::size_t tunnels = 128;                      ///< Of them in tunnels; more are refused.
  std::chrono::milliseconds tunnel_idle{300'000}; ///< No byte either way in a tunnel.
};

/// All calls from the io_context's thread.
class gateway {
public:
  /// Takes over `listening_fd` (a unix stream socket). Throws std::invalid_argument for a rule that
  /// holds a malformed domain, header, path, host or override; its text holds no header value.
  gateway(boost::asio::io_context& io, int listening_fd, gateway_access access,
          gateway_policy policy = {}, price_table prices = known_prices());
  /// Stops.
  ~gateway();
  gateway(const gateway&) = delete;
  gateway& operator=(const gateway&) = delete;

  void start();
  /// Stops listening and closes all connections; their coroutines end as the io_context goes on.
  void stop();
  /// What may be reached from now on, in place of what could be. Tunnels to hosts that are not
  /// allowed any more are closed, requests that are under way end as they would have. Throws as the
  /// constructor does, and then nothing has changed.
  void allow(gateway_access access);
  /// What may be spent from now on, what was spent before included. When it is used up, requests
  /// under a rule are answered with 402. A call that may go beyond it together with those under way
  /// waits for them, in order, for `policy.idle`, and is then answered with 429 and `retry-after`.
  void set_allowance(allowance most);
  /// Takes the keys away: requests under a rule are refused with 403 from now on, those under way
  /// are cut. allow() gives new ones.
  void revoke_keys();
  bool keys_revoked() const;
  const spend_ledger& spend() const;
  gateway_counts counts() const;

private:
  struct state;
  std::shared_ptr<state> s_;
};

} // namespace skep::host
