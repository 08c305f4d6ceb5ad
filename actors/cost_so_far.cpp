#include "actors/cost_so_far.hpp"

#include "messages/cost.hpp"

namespace skep::actors {

run_cost cost_so_far(const services& svc, const swarm_id& swarm) {
  auto row = svc.load_swarm(swarm);
  if (!row) return {};
  auto sandboxes = svc.load_sandboxes(swarm);
  if (!sandboxes) return {row->cost_usd, false};
  return {cost_usd(*row, *sandboxes, svc.wall_now()), true};
}

} // namespace skep::actors
