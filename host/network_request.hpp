// The network fields of a create and of PUT /sandboxes/{id}/network.
#pragma once

#include "host/spec.hpp"

#include <map>
#include <string>

namespace skep::host {

/// Reads `rules`, `allowOut` and `denyOut`. bad_argument: the caller's mistake (400); refused: E2B
/// has it, this host has not (501). `upstreams` maps a domain to the URL used instead of it.
///
/// Here everything is denied that is not allowed, so `denyOut` is checked and has no further effect
/// (E2B lets allowOut go before it), and `allow_internet_access` opens nothing by itself: SDKs up
/// to 2.49 send `true` with every create. allowOut with "0.0.0.0/0" opens every public address.
///
/// Beside E2B's own form, a rule may name the only paths it opens (ours; plain E2B ignores it):
///   "rules":{"api.x.com":[{"transform":{"headers":{"x-api-key":"K"}},"paths":["/v1/messages"]}]}
result<network_access> parse_network(const json& network,
                                     const std::map<std::string, std::string>& upstreams);

/// True when something in `allow` is reached by tunnels; what has a rule is reached by its rule.
bool has_tunnels(const network_access& access);

/// The variables by which programs find the gateway as their proxy, as curl, git, npm, pip, cargo,
/// go and gem read them; for the environment of a sandbox in which tunnels are allowed.
string_map proxy_variables();

} // namespace skep::host
