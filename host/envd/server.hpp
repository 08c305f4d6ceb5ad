// skep-envd's HTTP server: accepts on a listening unix socket, routes each request to its handler
// and turns failures into E2B's answers. One thread serves everything; each connection is a
// coroutine.
#pragma once

#include "host/envd/account.hpp"
#include "host/envd/config.hpp"
#include "host/envd/exchange.hpp"
#include "host/envd/pause_clock.hpp"
#include "host/envd/process.hpp"
#include "host/envd/watch.hpp"

#include <boost/asio/signal_set.hpp>

namespace skep::envd {

/// What handlers share.
struct services {
  asio::io_context& io;
  config& settings;
  account& user;
  process_table& processes;
  pause_clock& time;
  watch_hub& watches;
  std::map<std::string, std::shared_ptr<watcher>> polled{}; ///< By id, of CreateWatcher.
  std::int64_t initialized_at_ns = 0; ///< Timestamp of the newest /init that named one.
  int streams = 0;                    ///< Streams of events that are open.
  notifier streams_changed{io};
};

class server {
public:
  /// Takes over `listening_fd`.
  server(asio::io_context& io, int listening_fd, config c);
  void start();

private:
  task<void> accept();
  task<void> connection(local_socket socket);
  task<void> handle(exchange& x);
  task<void> route(exchange& x);
  void await_children();

  asio::io_context& io_;
  config config_;
  account account_;
  pause_clock time_;
  process_table processes_;
  watch_hub watches_;
  services services_;
  asio::local::stream_protocol::acceptor acceptor_;
  asio::signal_set children_;
};

} // namespace skep::envd
