// What the sandboxes of a run may reach, in the fields of E2B's create. One function for every
// provider: the local host carries the rules out in its gateway, E2B at its egress.
#pragma once

#include "actors/agents/adapter.hpp"
#include "sandbox/api.hpp"

#include <functional>
#include <string>
#include <vector>

namespace skep::actors {

/// The rules for `spec.network`. Its agent needs `uses` (nothing of them under `none`); `secret`
/// gives the value of a key by its name, empty when it is not set: secret_missing.
///
///   none, model   no host but those of `uses`
///   packages      also package_hosts and allow_hosts
///   allowlist     also allow_hosts
///   open          everything
///
/// A host of `uses` stands in allow_out too: at E2B a rule for its headers opens nothing by itself.
result<sandbox::network_rules>
network_plan(const swarm_spec& spec, const std::vector<gateway_use>& uses,
             const std::function<std::string(const std::string& name)>& secret);

} // namespace skep::actors
