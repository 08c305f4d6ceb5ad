#include "actors/shutdown.hpp"

#include "actors/swarm.hpp"

namespace skep::actors {

shutdown_course::step shutdown_course::due(milliseconds elapsed, bool signalled_again) {
  if (signalled_again || elapsed >= limit_) return step::give_up;
  // A quarter of the time is for kills and their confirmations.
  const bool force = elapsed >= limit_ * 3 / 4 && !std::exchange(forced_, true);
  if (!force && elapsed < ask_at_) return step::wait;
  ask_at_ = elapsed + again;
  return force ? step::force : step::ask;
}

void ask_all_to_end(swarm_registry& registry, stop_mode how) {
  registry.ending(true);
  for (const auto& x : registry.all())
    if (auto keeper = x->keeper()) caf::anon_send(keeper, stop_a::value, how);
}

std::vector<std::string> who_is_left(const services& svc, const swarm_registry& registry) {
  std::vector<std::string> out;
  for (const auto& x : registry.all()) {
    auto sandboxes = svc.load_sandboxes(x->swarm);
    auto before = out.size();
    if (sandboxes)
      for (const auto& s : *sandboxes) {
        if (s.state == phase::closed) continue;
        auto line = x->swarm.value + " " + s.sandbox.value;
        std::string names;
        if (auto panes = svc.load_panes(s.sandbox))
          for (const auto& p : *panes)
            if (p.state != pane_phase::closed) names += (names.empty() ? ": " : ", ") + p.name;
        out.push_back(line + names);
      }
    if (out.size() == before) out.push_back(x->swarm.value);
  }
  return out;
}

} // namespace skep::actors
