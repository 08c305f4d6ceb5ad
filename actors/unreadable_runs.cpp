#include "actors/unreadable_runs.hpp"

#include "actors/swarm_sandboxes.hpp"
#include "actors/work_files.hpp"

namespace skep::actors {

// The chunks go to the JOURNAL one after the other, the swarm's end last: it is refused while a
// sandbox is open.
void end_unled(const services_ptr& svc, const append_chunk& append, const swarm_id& id, outcome as,
               const std::string& reason, const error& why,
               std::function<void(result<std::uint64_t>)> then) {
  auto row = svc->load_swarm(id);
  if (!row) return then(row.err());
  if (row->state == swarm_phase::closed) return then(svc->handles->head_seq());
  auto sandboxes = svc->load_sandboxes(id);
  if (!sandboxes) return then(sandboxes.err());
  for (const auto& x : *sandboxes)
    if (auto c = abandonment(*svc, x.sandbox, why, as, reason)) append(*c, [](const auto&) {});
  auto last = std::make_shared<chunk>();
  last->swarm = id;
  last->count = 1;
  swarm_closed end;
  end.result = as;
  end.why = why;
  last->body.data = pack_now(svc->wall_now(), end).bytes;
  append(last, [svc, id, then](result<std::uint64_t> seq) {
    svc->handles->wake_reaper(); // also where only some kills were written
    if (seq) remove_work_files(*svc, id);
    then(std::move(seq));
  });
}

std::vector<swarm_id> unreadable_runs::ids() const {
  std::vector<swarm_id> out;
  for (const auto& [id, x] : runs_)
    out.push_back(id);
  return out;
}

void unreadable_runs::end(const swarm_id& id, stop_mode how, answer then) {
  auto i = runs_.find(id);
  if (i == runs_.end()) return then(svc_->handles->head_seq());
  i->second.waiting.push_back(std::move(then));
  if (i->second.waiting.size() > 1) return;
  auto why = i->second.why;
  end_unled(svc_, append_, id, outcome_of(how), reason_of(how), why,
            [this, id](result<std::uint64_t> seq) {
              auto x = runs_.find(id);
              if (x == runs_.end()) return;
              auto waiting = std::exchange(x->second.waiting, {});
              if (seq) {
                runs_.erase(x);
                registry_->drop(id);
              }
              for (const auto& answered : waiting)
                answered(seq);
            });
}

void unreadable_runs::end_overdue() {
  for (const auto& id : ids())
    if (overdue(id)) end(id, stop_mode::limit_kill, [](const auto&) {});
}

bool unreadable_runs::overdue(const swarm_id& id) const {
  auto sandboxes = svc_->load_sandboxes(id);
  if (!sandboxes) return false;
  bool any = false;
  for (const auto& x : *sandboxes) {
    if (x.state == phase::closed || x.charged_from == utc_time{}) continue;
    any = true;
    const auto settled = x.charged_from + svc_->limits.create_of(x.provider).settle_after();
    if (svc_->wall_now() < std::max(x.lease_end_at, settled)) return false;
  }
  return any;
}

void unreadable_runs::clear() {
  append_ = nullptr;
  runs_.clear();
  registry_.reset();
  svc_.reset();
}

} // namespace skep::actors
