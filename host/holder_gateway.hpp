// The gateway (host/gateway/) as the holder makes it: from the rules of its order.
#pragma once

#include "host/gateway/gateway.hpp"
#include "host/posix.hpp"
#include "host/spec.hpp"

#include <memory>

namespace skep::host {

/// `listener` is the socket that skep-envd relays to. errc::bad_argument for a malformed rule.
result<std::unique_ptr<gateway>> make_gateway(boost::asio::io_context& io, unique_fd listener,
                                              const network_access& access,
                                              const string_map& prices = {});

/// What may be reached from now on. errc::bad_argument for a malformed rule: nothing has changed.
result<void> allow(gateway& g, const network_access& access);

/// Overwrites the values of headers, which live on in the gateway alone.
void forget_keys(network_access& access);

/// The answer to `usage`: {"gateway":{..},"calls":[..],"cursor":N,"oldest":N}, with the calls after
/// number `after`. Holds no key.
json usage_of(const gateway& g, std::uint64_t after);
json usage_of(const gateway_counts& counts, const spend_ledger& spend, bool keys_revoked,
              std::uint64_t after);

/// Reads {"microUsd":N|null,"tokens":N|null}. errc::bad_argument.
result<allowance> allowance_from(const json& j);

} // namespace skep::host
