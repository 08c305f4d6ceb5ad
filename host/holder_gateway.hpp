// The gateway (host/gateway/) as the holder sees it: made from the order's rules, asked for its
// counts.
#pragma once

#include "host/async.hpp"
#include "host/posix.hpp"
#include "host/spec.hpp"

#include <memory>

namespace skep::host {

class holder_gateway {
public:
  /// `listener` is where skep-envd relays to. errc::refused in a build without a gateway.
  static result<std::unique_ptr<holder_gateway>> make(asio::io_context& io, unique_fd listener,
                                                      const std::vector<network_rule>& rules);
  virtual ~holder_gateway() = default;
  virtual void start() = 0;
  virtual void stop() = 0;
  /// Counts as JSON; holds no key.
  virtual json usage() const = 0;
};

} // namespace skep::host
