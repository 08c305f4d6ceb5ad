#include "actors/swarm_sandboxes.hpp"

#include <algorithm>

namespace skep::actors {

sandbox_start plan_sandbox(const swarm_spec& spec, const swarm_id& swarm, std::uint32_t index,
                           const sandbox_id& id) {
  sandbox_start start;
  start.record.sandbox = id;
  start.record.swarm = swarm;
  start.record.index = index;
  start.panes = missing_panes(spec, start.record, {});
  return start;
}

std::vector<pane_record> missing_panes(const swarm_spec& spec, const sandbox_record& sandbox,
                                       const std::vector<pane_record>& known) {
  std::vector<pane_record> out;
  for (std::uint32_t k = 0; k < spec.panes; ++k) {
    pane_record p;
    p.index = sandbox.index * spec.panes + k;
    if (std::any_of(known.begin(), known.end(), [&](const auto& x) { return x.index == p.index; }))
      continue;
    p.pane = pane_id::make();
    p.sandbox = sandbox.sandbox;
    p.swarm = sandbox.swarm;
    p.name = "p" + std::to_string(p.index);
    p.branch = "skep/" + p.name;
    p.agent = spec.agent;
    out.push_back(std::move(p));
  }
  return out;
}

std::vector<std::uint32_t> missing_indices(const swarm_spec& spec,
                                           const std::vector<sandbox_record>& known) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < spec.sandboxes; ++i)
    if (std::none_of(known.begin(), known.end(), [i](const auto& r) { return r.index == i; }))
      out.push_back(i);
  return out;
}

result<chunk_ptr> abandonment(const services& svc, const sandbox_id& sandbox, const error& why,
                              outcome end, const std::string& reason) {
  auto row = svc.load_sandbox(sandbox);
  if (!row) return row.err();
  if (row->state == phase::closed)
    return make_error(errc::wrong_phase, sandbox.value + " is closed");
  auto panes = svc.load_panes(sandbox);
  if (!panes) return panes.err();
  auto first = row->error_code.empty() ? why : first_error(*row);
  auto c = std::make_shared<chunk>();
  c->swarm = row->swarm;
  c->sandbox = sandbox;
  auto add = [&](const auto& e) {
    c->body.data += pack_now(svc.wall_now(), e).bytes;
    ++c->count;
  };
  for (const auto& p : *panes)
    if (p.state != pane_phase::closed)
      add(pane_closed{p.pane, end, why, p.attempt, p.final_offset});
  if (!row->remote_id.empty() && !row->kill_intended) add(kill_intended{reason});
  add(sandbox_closed{end, first, false});
  return c;
}

std::string reason_of(stop_mode how) {
  if (how == stop_mode::shutdown || how == stop_mode::former_shutdown) return "the daemon ends";
  switch (outcome_of(how)) {
  case outcome::timed_out:
    return "time limit";
  case outcome::killed:
    return "kill";
  case outcome::budget:
    return "budget";
  default:
    return "stop";
  }
}

stop_mode former_stop(const swarm_record& record, bool over) {
  for (auto how : {stop_mode::budget, stop_mode::kill})
    if (record.stop_reason == reason_of(how)) return how;
  if (over) return stop_mode::timed_out;
  // A user who stops may keep sandboxes; nobody asked for that where a daemon ended everything. Its
  // hurry ended with it.
  return record.stop_reason == reason_of(stop_mode::former_shutdown) ? stop_mode::former_shutdown
                                                                     : stop_mode::graceful;
}

context_ptr sandbox_set::add(const services_ptr& svc, std::shared_ptr<const swarm_spec> spec,
                             std::shared_ptr<sandbox::api> api, const sandbox_start& start) {
  auto context = std::make_shared<sandbox_context>();
  context->svc = svc;
  context->spec = std::move(spec);
  context->api = std::move(api);
  context->swarm = start.record.swarm;
  context->sandbox = start.record.sandbox;
  context->index = start.record.index;
  all_[context->sandbox] = context;
  open_.insert(context->sandbox);
  return context;
}

void sandbox_set::drop(const sandbox_id& id) {
  auto i = all_.find(id);
  if (i == all_.end()) return;
  i->second->clear();
  all_.erase(i);
}

void sandbox_set::clear() {
  for (auto& [id, context] : all_)
    context->clear();
  all_.clear();
  open_.clear();
}

void sandbox_set::tell_stop(stop_mode how) const {
  for (const auto& id : open_)
    if (auto i = all_.find(id); i != all_.end()) {
      i->second->told_to_stop(how);
      if (auto keeper = i->second->keeper()) caf::anon_send(keeper, stop_a::value, how);
    }
}

sandbox_actor sandbox_set::keeper_of(const pane_id& pane) const {
  for (const auto& [id, context] : all_)
    if (context->pane(pane)) return context->keeper();
  return {};
}

open_sandboxes sandbox_set::keepers(const sandbox_id& only) const {
  open_sandboxes out;
  for (const auto& id : open_)
    if (only.empty() || id == only)
      if (auto h = keeper_of(id))
        out.all.emplace_back(id, caf::actor_cast<caf::strong_actor_ptr>(h));
  return out;
}

sandbox_actor sandbox_set::keeper_of(const sandbox_id& sandbox) const {
  auto i = all_.find(sandbox);
  return i == all_.end() ? sandbox_actor{} : i->second->keeper();
}

} // namespace skep::actors
