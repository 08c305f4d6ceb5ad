// The gateway (host/gateway/) as the holder makes it: from the rules of its order.
#pragma once

#include "host/gateway/gateway.hpp"
#include "host/posix.hpp"
#include "host/spec.hpp"

#include <memory>
#include <vector>

namespace skep::host {

/// `listener` is the socket that skep-envd relays to. errc::bad_argument for a malformed rule.
result<std::unique_ptr<gateway>> make_gateway(boost::asio::io_context& io, unique_fd listener,
                                              const std::vector<network_rule>& rules);

/// The answer to `usage`; holds no key.
json usage_of(const gateway& g);

} // namespace skep::host
