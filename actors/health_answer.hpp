// The answer to `health`: rows, signs and log files of what was asked for, judged (health.hpp).
#pragma once

#include "actors/health.hpp"
#include "actors/query_desk.hpp"

namespace skep::actors {

/// Of a swarm, a sandbox, a pane, or of the daemon, every open swarm, and closed ones with a
/// sandbox that its provider has not confirmed to be gone. Blocking short reads.
/// Errors: no_such_swarm, not_found, no_such_pane.
result<health_reply> answer_health(storage::reader& rows, const daemon_facts& facts,
                                   directory& handles, const health_request& what);

} // namespace skep::actors
