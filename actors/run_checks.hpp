// What a run must pass before anything is made, besides the soundness of its spec.
#pragma once

#include "actors/command_desk.hpp"

namespace skep::actors {

/// draining while `skep drain` holds, shutting_down while the daemon ends; none otherwise.
error no_new_runs(const swarm_registry& registry);

/// As that of run_rules.hpp, with the daemon's policies.
error fit_limit(const services& svc, swarm_spec& spec, std::vector<std::string>& remarks);

} // namespace skep::actors
