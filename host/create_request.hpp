// The body of POST /sandboxes and POST /v2/sandboxes.
#pragma once

#include "host/spec.hpp"

#include <map>
#include <string>
#include <string_view>

namespace skep::host {

/// A non-empty traffic_token says that one is wanted.
///
/// Fills template, metadata, envVars, timeout and network of an order. bad_argument: the caller's
/// mistake (400); refused: E2B has it, this host has not (501). `upstreams` maps a domain to the
/// URL used instead of it.
/// Its network: network_request.hpp.
result<sandbox_order> parse_create(std::string_view body, std::int64_t default_timeout_ms,
                                   const std::map<std::string, std::string>& upstreams);

/// Seconds of a `timeout` field as milliseconds; bad_argument unless 1 s to 24 h.
result<std::int64_t> lifetime_from(const json& seconds);

} // namespace skep::host
