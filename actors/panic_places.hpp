// Where a panic looks for what lives: the providers that are asked, whatever the tables know of
// single sandboxes. No actor, no call.
#pragma once

#include "actors/domain.hpp"

#include <map>
#include <set>

namespace skep::actors {

/// Providers at which sandboxes of the selection may live. `living`: what the tables believe to
/// live of it; `open`: the open runs that it means, with their providers. Of all: each provider in
/// use, too. Of a run or a sandbox that is over: the one it was at. One that is not configured any
/// more is among them only for rows whose lease is not over, and a local host that has no sandbox
/// only while a create may be on its way to it. unknown_provider, not_found: nothing of this name
/// was ever here. Short reads; any thread.
result<std::set<std::string>> panic_places(const services& svc, const selection& s,
                                           const std::vector<sandbox_record>& living,
                                           const std::multimap<swarm_id, std::string>& open);

/// False: what lies here shows that this provider has no sandbox. Any thread.
inline bool may_hold(const services& svc, const std::string& provider) {
  return !svc.may_hold || svc.may_hold(provider);
}

} // namespace skep::actors
