// One tunnel (CONNECT): bytes both ways between a client inside and the host it asked for.
#pragma once

#include "host/gateway/forward.hpp"
#include "host/gateway/tunnels.hpp"

#include <memory>

namespace skep::host::gate {

/// A tunnel that is open or being opened.
class tunnel : public std::enable_shared_from_this<tunnel> {
public:
  tunnel(forward_context& g, std::shared_ptr<client> c, authority to)
      : g_(g), client_(std::move(c)), to_(std::move(to)), up_(g.io), one_over_(g.io) {}

  /// Where it leads, as the client asked.
  const authority& target() const { return to_; }

  /// Connects, answers 200 and relays until both sides are closed, nothing passed for
  /// gateway_policy::tunnel_idle, or close(). A failure to connect is returned and not answered;
  /// after the answer the client's connection is of no further use.
  task<std::optional<refusal>> run(endpoint where);

  /// Ends it at once.
  void close();

private:
  template <class From, class To>
  task<void> pass(From& from, To& to, std::uint64_t& count, watchdog& idle);

  forward_context& g_;
  std::shared_ptr<client> client_;
  authority to_;
  tcp::socket up_;
  asio::steady_timer one_over_;
  int open_ways_ = 0;
  bool closed_ = false;
};

} // namespace skep::host::gate
