#include "actors/budget_watch.hpp"

#include "actors/swarm.hpp"
#include "messages/warnings.hpp"

namespace skep::actors {
namespace {

std::map<sandbox_id, double> models_of(const storage::spend_state& s, const swarm_id& swarm) {
  std::map<sandbox_id, double> out;
  for (const auto& x : s.placed)
    if (x.swarm == swarm) out[x.sandbox] = x.model_cost_usd;
  return out;
}

} // namespace

bool budget_watch::look(const storage::spend_state& s, utc_time now) {
  bool again = false;
  for (const auto& b : shared_budgets(s, *svc_->rules, now)) {
    if (!b.in_force()) continue;
    again = again || !s.placed.empty() || !s.open_swarms.empty();
    warn(s, b);
    enforce(s, b, now);
  }
  for (const auto& w : s.open_swarms) {
    auto b = budget_of(s, w, now);
    if (!b.in_force()) continue;
    again = true;
    warn(s, b);
    if (judge(b, svc_->limits) != budget_step::none) stop(w, b, b.usd_per_hour, now);
  }
  std::erase_if(winding_, [&](const auto& x) { return x.second.seen != now; });
  look_at_kept(s, now);
  publish(s, now);
  return again || std::any_of(s.placed.begin(), s.placed.end(), [](const auto& x) {
           return x.kept && x.usd_per_hour > 0;
         });
}

void budget_watch::publish(const storage::spend_state& s, utc_time now) {
  std::optional<double> shared;
  auto tighter = [&](std::optional<double>& rest, const budget_view& b) {
    if (b.in_force()) rest = std::min(rest.value_or(b.limit_usd), rest_of(b, svc_->limits));
  };
  for (const auto& b : shared_budgets(s, *svc_->rules, now))
    tighter(shared, b);
  std::map<swarm_id, budget_rest> rests;
  for (const auto& w : s.open_swarms) {
    auto rest = shared;
    tighter(rest, budget_of(s, w, now));
    if (!rest) continue;
    rests[w.swarm] = {*rest, models_of(s, w.swarm)};
  }
  svc_->rests->put(std::move(rests));
}

// Each once, also over restarts: the tables know those that were given.
void budget_watch::warn(const storage::spend_state& s, const budget_view& b) {
  auto level = warning_level(b);
  for (auto percent : {50u, 80u}) {
    if (percent > level) return;
    auto key = warning_key(b.scope, b.id, percent);
    if (s.warnings.count(key) > 0 || !warned_.insert(key).second) continue;
    auto then = [this, key](bool stored) {
      if (!stored) warned_.erase(key); // it is due again in a second
    };
    auto text = budget_text(percent, budget_owner(b.scope, b.id), b.limit_usd, {b.spent_usd, true});
    if (b.scope == budget_scope::swarm)
      journal({b.id}, {}, swarm_budget_warned{percent, b.spent_usd, b.limit_usd, text}, then);
    else
      journal({}, {}, budget_warned{b.scope, b.id, percent, b.spent_usd, b.limit_usd, text}, then);
  }
}

// What is spent ends all. A call without a known price ends the run that made it: what the others
// cost is known.
void budget_watch::enforce(const storage::spend_state& s, const budget_view& b, utc_time now) {
  auto known = b;
  known.unpriced_calls = 0;
  const auto all = judge(known, svc_->limits) != budget_step::none;
  if (!all && b.unpriced_calls == 0) return;
  for (const auto& w : s.open_swarms)
    if (auto own = budget_of(s, w, now); all || own.unpriced_calls > 0)
      stop(w, b, own.usd_per_hour, now);
  for (const auto& x : s.placed)
    if (x.kept && (all || x.unpriced_calls > 0)) end_kept(x);
}

// Said at each look until the tables have it, and a kill until the swarm is closed: a SWARM that
// died before its record has not heard it, and for the others it means nothing new.
void budget_watch::stop(const swarm_record& w, const budget_view& b, double usd_per_hour,
                        utc_time now) {
  auto& x = winding_.try_emplace(w.swarm, winding{now, now}).first->second;
  x.seen = now;
  const auto begun = w.state == swarm_phase::stopping;
  // Where time costs nothing, waiting for a SWARM that is being restarted does not either.
  if (!begun && usd_per_hour <= 0) x.since = now;
  const auto kill = kill_is_due(b, usd_per_hour, now - x.since, svc_->limits);
  if (begun && !kill) return;
  auto context = swarms_->find(w.swarm);
  // Nobody can wind down a run that nobody leads: it has until its kill.
  if (!context && kill) swarms_->end_unreadable(w.swarm, stop_mode::budget_kill);
  auto keeper = context ? context->keeper() : swarm_actor{};
  if (!keeper) return; // it is being started or restarted: in a second
  caf::anon_send(keeper, stop_a::value, kill ? stop_mode::budget_kill : stop_mode::budget);
}

// A sandbox that was kept costs on when its swarm is closed, and its budget holds on.
void budget_watch::look_at_kept(const storage::spend_state& s, utc_time now) {
  for (const auto& x : s.placed) {
    if (!x.kept || x.kill_intended || ended_.count(x.sandbox) > 0) continue;
    auto w = svc_->load_swarm(x.swarm);
    if (w.ok() && judge(budget_of(s, *w, now), svc_->limits) != budget_step::none) end_kept(x);
  }
}

void budget_watch::end_kept(const storage::placed_sandbox& x) {
  if (x.kill_intended || !ended_.insert(x.sandbox).second) return;
  // The REAPER reads the tables: it has nothing to do before they show the intent.
  journal(x.swarm, x.sandbox, kill_intended{"budget"}, [this, id = x.sandbox](bool stored) {
    if (stored) return svc_->handles->wake_reaper();
    ended_.erase(id);
  });
}

void budget_watch::clear() {
  append_ = nullptr;
  swarms_.reset();
  svc_.reset();
}

template <event E>
void budget_watch::journal(const swarm_id& swarm, const sandbox_id& sandbox, const E& e,
                           std::function<void(bool stored)> then) {
  auto c = std::make_shared<chunk>();
  c->swarm = swarm;
  c->sandbox = sandbox;
  c->count = 1;
  pack_event(c->body.data, svc_->wall_now(), e);
  append_(std::move(c), std::move(then));
}

error check_budget(const budget_set_request& r) {
  if (r.scope != budget_scope::day && r.scope != budget_scope::month)
    return make_error(errc::bad_argument, "a budget of all swarms is that of a day or a month");
  if (!(r.limit_usd <= max_budget_usd)) // true for NaN
    return make_error(errc::out_of_range, "a budget is between 0 and 1000000 dollars");
  return {};
}

} // namespace skep::actors
