// Raw byte relays: from the loopback port inside the sandbox to the gateway's socket, and from the
// host's proxy to a port inside the sandbox.
#pragma once

#include "host/envd/async.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <string>

namespace skep::envd {

/// Listens on 127.0.0.1:`port` and connects each client with the unix socket at `socket_path`.
/// Throws boost::system::system_error when the port cannot be bound.
class gateway_relay {
public:
  gateway_relay(asio::io_context& io, std::uint16_t port, std::string socket_path);
  void start();

private:
  task<void> accept();

  asio::io_context& io_;
  asio::ip::tcp::acceptor acceptor_;
  std::string socket_path_;
};

/// Copies both ways until both sides are closed; `early` are bytes already read from `host`.
task<void> relay_port(local_socket host, asio::ip::tcp::socket port, std::string early);

} // namespace skep::envd
