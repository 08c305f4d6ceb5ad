// The HTTP server of the host: one address for the control API and for envd of all sandboxes.
//
// A request that names a sandbox - by the headers E2b-Sandbox-Id and E2b-Sandbox-Port, or by a host
// name PORT-ID.anything - goes to that sandbox's envd (port 49983), every other one to the control
// API after its key was checked.
#pragma once

#include "host/async.hpp"
#include "host/control_api.hpp"
#include "host/driver.hpp"
#include "host/http.hpp"
#include "host/rate_limit.hpp"
#include "host/rehearsal.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace skep::host {

/// As many connections as so many open files allow beside 512 others, where each takes
/// `files_each`; 64 to 20,000.
std::size_t default_connections(unsigned long open_files, unsigned long files_each = 2);

struct server_policy {
  std::size_t connections = 0;    ///< At a time; more are answered 503. 0: default_connections().
  unsigned long files_each = 2;   ///< Open files of a connection: a relayed one takes two.
  std::chrono::seconds idle{620}; ///< A connection may wait this long for its next request.
  std::chrono::seconds body{30};  ///< A control request's body must be there within.
  std::chrono::seconds linger{2}; ///< For a client that still sends after its answer.
  std::chrono::milliseconds port{10'000};  ///< Until a port inside is connected.
  rate create_rate;                        ///< Creations of sandboxes, for each key.
  rate control_rate;                       ///< All other control requests, for each key.
  std::size_t body_limit_bytes = 1u << 20; ///< Of a control request.
  /// Of a control request that is refused for its size: so much is read before the answer, for a
  /// proxy in between would turn an answer into the middle of a body into a reset.
  std::size_t refused_body_bytes = 16u << 20;
  std::uint32_t header_limit_bytes = 64u << 10;
};

class server {
public:
  /// `keys`: accepted values of X-API-KEY; empty: none is needed (loopback only), and requests of
  /// web pages are refused.
  server(asio::io_context& io, driver& sandboxes, control_api& api, std::vector<std::string> keys,
         server_policy policy = {});

  /// Binds; errc::bad_argument when the address cannot be had. Returns the URL with the real port.
  result<std::string> listen(const std::string& address, bool loopback_only);
  /// Takes connections from now on; until set_ready() they are answered 503.
  void start();
  void set_ready() { ready_ = true; }
  /// Lets `r` befall every request and serve envd of all sandboxes. Before start().
  void rehearse(rehearsal& r) { rehearsal_ = &r; }
  /// When the last request ended, and whether one is being served.
  std::chrono::steady_clock::time_point last_use() const { return last_use_; }
  bool busy() const { return active_ > 0; }

private:
  struct target {
    std::string sandbox_id;
    std::string port;
    std::string refusal; ///< Text of a 400, or empty.
    bool to_sandbox = false;
  };

  task<void> accept();
  task<void> serve(tcp::socket socket);
  static void refuse(tcp::socket socket);
  task<bool> serve_one(client_connection& client, request_reader& reader);
  task<bool> serve_routed(client_connection& client, request_reader& reader, target to,
                          mishap::loss lost = mishap::loss::none);
  task<bool> proxy(client_connection& client, request_reader& reader, target to);
  task<std::optional<bool>> befall(client_connection& client, request_reader& reader,
                                   const mishap& what);
  task<api_reply> relay_to(client_connection& client, request_reader& reader, const target& to,
                           bool& keep);
  task<bool> control(client_connection& client, request_reader& reader, mishap::loss lost);
  task<bool> reply(client_connection& client, const request_reader& reader, api_reply answer);
  task<void> linger(client_connection& client);
  task<void> outlast(client_connection& client);
  target route(const request_reader& reader) const;
  api_reply check_key(const request_reader& reader) const;

  asio::io_context& io_;
  driver& sandboxes_;
  control_api& api_;
  std::vector<std::string> keys_;
  server_policy policy_;
  tcp::acceptor acceptor_;
  rehearsal* rehearsal_ = nullptr;
  rate_limiter creates_;
  rate_limiter controls_;
  std::size_t most_connections_;
  std::size_t connections_ = 0;
  bool ready_ = false;
  std::size_t active_ = 0;
  std::chrono::steady_clock::time_point last_use_ = std::chrono::steady_clock::now();
};

} // namespace skep::host
