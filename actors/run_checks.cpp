#include "actors/run_checks.hpp"

#include "actors/lease_plan.hpp"

namespace skep::actors {

error no_new_runs(const swarm_registry& registry) {
  if (registry.ending()) return make_error(errc::shutting_down, "the daemon ends");
  return registry.draining() ? make_error(errc::draining) : error{};
}

error fit_limit(const services& svc, swarm_spec& spec, std::vector<std::string>& remarks) {
  auto cap = svc.limits.create_of(spec.provider).lease_cap;
  auto grace = svc.limits.lease_grace;
  auto fits = limit_within(std::chrono::milliseconds{spec.limit_ms}, grace, cap);
  if (!fits)
    return make_error(errc::out_of_range, "the lease cap of " + spec.provider + ", "
                                              + std::to_string(cap.count())
                                              + " s, leaves no time beside the lease's grace of "
                                              + std::to_string(grace.count()) + " s");
  if (fits->count() == spec.limit_ms) return {};
  spec.limit_ms = fits->count();
  remarks.push_back("the time limit is " + std::to_string(fits->count() / 1000)
                    + " s: sandboxes of " + spec.provider + " live at most "
                    + std::to_string(cap.count()) + " s, and the last "
                    + std::to_string(grace.count()) + " s are for results");
  return {};
}

} // namespace skep::actors
