#include "actors/cost_so_far.hpp"

#include <algorithm>

namespace skep::actors {

// No rates yet: budgets bring them, and this is the one place that has to know.
std::optional<double> sandbox_usd_per_hour(const services&, const std::string&) {
  return std::nullopt;
}

run_cost cost_so_far(const services& svc, const swarm_id& swarm, const std::string& provider) {
  run_cost out;
  auto row = svc.load_swarm(swarm);
  if (!row) return out;
  out.usd = row->cost_usd;
  auto rate = sandbox_usd_per_hour(svc, provider);
  if (!rate) return out;
  auto sandboxes = svc.load_sandboxes(swarm);
  if (!sandboxes) return out;
  using hours = std::chrono::duration<double, std::ratio<3600>>;
  for (const auto& s : *sandboxes) {
    if (s.remote_id.empty()) continue;
    auto end = s.closed_at.time_since_epoch().count() > 0 ? s.closed_at : svc.wall_now();
    out.usd += *rate * std::max(hours{end - s.created_at}.count(), 0.0);
  }
  out.whole = true;
  return out;
}

} // namespace skep::actors
