// Panes that changed the same paths: told as results come in, and all of them at the end.
#include "actors/swarm_actor.hpp"

#include <algorithm>

namespace skep::actors {

// Of a sandbox that is closed, or is being collected, pane by pane.
void swarm_impl::compare_with(const sandbox_id& id) {
  if (std::find(uncompared_.begin(), uncompared_.end(), id) == uncompared_.end())
    uncompared_.push_back(id);
  compare();
}

void swarm_impl::compare() {
  if (comparing_ || finishing_ || uncompared_.empty()) return;
  comparing_ = true;
  auto svc = ctx_->svc;
  in_pool<std::vector<collision>>(
      svc,
      [svc, spec = ctx_->spec, id = ctx_->swarm, boxes = std::exchange(uncompared_, {})] {
        return collisions_with(*svc, *spec, id, boxes);
      },
      mine([this](result<std::vector<collision>> r) {
        comparing_ = false;
        if (finishing_) return write_end(); // which tells of all
        // What cannot be compared now is compared at the end, where an error counts.
        if (r) tell(*r);
        compare();
      }));
}

void swarm_impl::tell(const std::vector<collision>& met) {
  auto news = told_.of(met);
  for (const auto& x : news.tell)
    note(ctx_->recorder(), now(), x);
  if (news.left_out)
    note(ctx_->recorder(), now(),
         notice{severity::warning, "collisions_left_out",
                "more than " + std::to_string(most_told_paths) + " paths of " + ctx_->swarm.value
                    + " were changed by several panes: the others are in summary.json alone"});
}

} // namespace skep::actors
