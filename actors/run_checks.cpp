#include "actors/run_checks.hpp"

#include "actors/run_rules.hpp"

namespace skep::actors {

error no_new_runs(const swarm_registry& registry) {
  if (registry.ending()) return make_error(errc::shutting_down, "the daemon ends");
  return registry.draining() ? make_error(errc::draining) : error{};
}

error fit_limit(const services& svc, swarm_spec& spec, std::vector<std::string>& remarks) {
  return fit_limit(svc.limits, spec, remarks);
}

} // namespace skep::actors
