#include "actors/shutdown.hpp"

#include "actors/swarm.hpp"
#include "actors/swarm_sandboxes.hpp"

#include <algorithm>

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

bool unled_ending::go_on(milliseconds elapsed) {
  auto unreadable = registry_.unreadable();
  for (const auto& id : unreadable)
    registry_.end_unreadable(id, stop_mode::kill);
  auto living = svc_.living_sandboxes();
  if (!living) return !looked_ || !left_.empty();
  looked_ = true;
  left_.clear();
  for (const auto& x : *living) {
    if (x.kept || std::find(unreadable.begin(), unreadable.end(), x.swarm) != unreadable.end())
      ours_.insert(x.sandbox);
    if (ours_.count(x.sandbox) == 0 || !may_end(x)) continue;
    left_.push_back(x);
    if (x.state == phase::closed) end(x, elapsed);
  }
  return !left_.empty();
}

// A provider that nobody can ask any more keeps no daemon for what its lease has ended.
bool unled_ending::may_end(const sandbox_record& x) const {
  return svc_.knows_provider(x.provider) || svc_.wall_now() < x.lease_end_at;
}

// The REAPER reads the tables: it has nothing to do before they show the intent. By itself it tries
// a kill without an answer again only after reap_interval.
void unled_ending::end(const sandbox_record& x, milliseconds elapsed) {
  auto [due, fresh] = due_.try_emplace({x.sandbox, x.kill_intended}, elapsed);
  auto journal = svc_.handles->journal();
  if (elapsed < due->second || !journal) return; // or it is being restarted
  due->second = elapsed + again;
  if (x.kill_intended) return svc_.handles->wake_reaper();
  auto c = std::make_shared<chunk>();
  c->swarm = x.swarm;
  c->sandbox = x.sandbox;
  c->count = 1;
  pack_event(c->body.data, svc_.wall_now(), kill_intended{reason_of(stop_mode::shutdown)});
  caf::anon_send(journal, append_a::value, chunk_ptr{std::move(c)});
}

std::vector<std::string> unled_ending::who_is_left() const {
  std::vector<std::string> out;
  for (const auto& x : left_)
    out.push_back(x.swarm.value + " " + x.sandbox.value + (x.kept ? ": kept" : ""));
  return out;
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
