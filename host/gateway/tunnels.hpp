// Where programs of the sandbox may open a connection of their own to: CONNECT, and plain HTTP
// through the gateway as a proxy. Pure functions.
#pragma once

#include "host/gateway/rules.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skep::host::gate {

/// A host and a port as a client asks for them.
struct authority {
  std::string host; ///< Small letters, no dot at the end; an IPv6 address without its brackets.
  std::uint16_t port = 0;
  bool is_address = false;
};

/// "host:port", "1.2.3.4:port" or "[v6]:port", and nothing else: no user, no zone, no number that
/// only some resolvers take for an address. `default_port` 0: a port must be there.
std::optional<authority> parse_authority(std::string_view text, std::uint16_t default_port = 0);

/// Empty when the rules are sound, else what is wrong with them.
std::string fault_of(const tunnel_rules& rules);

/// Where a connection to `to` goes; refused are ports and hosts that are not listed, and hosts that
/// have a rule: a connection of the client's own would go around its paths and its key.
std::optional<refusal> find_tunnel(const authority& to, const gateway_access& access,
                                   endpoint& out);

/// Splits the target of a proxied request, "http://host[:port]/path?query". False: it is none.
bool split_absolute(std::string_view target, authority& to, std::string& path);

} // namespace skep::host::gate
