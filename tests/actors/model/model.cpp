#include "tests/actors/model/model.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace skep::test {

namespace {

template <class T, class... Us>
constexpr bool one_of = (std::is_same_v<T, Us> || ...);

template <class E>
constexpr bool of_swarm = one_of<E, swarm_created, swarm_phase_changed, swarm_closed,
                                 swarm_budget_warned, sandbox_replaced>;

template <class E>
constexpr bool of_sandbox =
    one_of<E, sandbox_queued, create_intended, sandbox_created, create_failed, sandbox_fell_back,
           phase_changed, lease_intended, base_recorded, sandbox_degraded, kill_intended,
           kill_confirmed, sandbox_closed, sandbox_failing>;

template <class E>
constexpr bool of_pane = one_of<E, pane_start_intended, pane_started, pane_exited, pane_restarting,
                                pane_closed, pane_usage, pane_budget_warned>;

std::string names(std::uint64_t seq, const std::string& what) {
  return "event " + std::to_string(seq) + ": " + what;
}

} // namespace

// ---- the journal
// ---------------------------------------------------------------------------------

model::broken model::look(const std::vector<chunk>& committed) {
  for (; chunks_seen_ < committed.size(); ++chunks_seen_)
    if (auto b = read(committed[chunks_seen_])) return b;
  return {};
}

model::broken model::read(const chunk& c) {
  if (c.first_seq != next_seq_)
    return names(next_seq_, "is missing; the next one is " + std::to_string(c.first_seq));
  event_reader events{c.body.data};
  std::uint32_t n = 0;
  for (; !events.done(); ++n, ++next_seq_) {
    auto raw = events.next();
    if (!raw) return names(next_seq_, "cannot be read");
    auto e = interpret(*raw);
    if (!e) return names(next_seq_, "is of no known kind");
    if (auto b = take(c, *e, raw->at)) return names(next_seq_, *b);
  }
  if (n != c.count) return names(next_seq_, "a chunk holds other than its count says");
  return {};
}

template <class E>
model::broken model::in_swarm(const std::string& id, swarm_state& s, const E& e, utc_time at) {
  if (s.end) return "a swarm goes on after its end";
  if constexpr (std::is_same_v<E, swarm_created>) {
    if (std::exchange(s.created, true)) return "a swarm is created twice";
  } else if (!s.created) {
    return "a swarm goes on before its beginning";
  }
  if constexpr (std::is_same_v<E, swarm_phase_changed>) {
    if (e.to == swarm_phase::stopping) s.stopping = true;
    if (e.to == swarm_phase::stopping && e.reason == "budget") {
      s.out_of_money = true;
      // Seen at a look, once a second, before the end of a create took its cost away again.
      if (!budget_ends(id, at) && at - s.ended_until > std::chrono::seconds{2})
        return "a run is stopped for a budget that has not ended";
    }
  }
  if constexpr (std::is_same_v<E, swarm_budget_warned>)
    return warned(purse_of(id, at), s.warned, e.percent, e.spent_usd, e.limit_usd);
  if constexpr (std::is_same_v<E, sandbox_replaced>) {
    auto lost = sandboxes_.find(e.lost.value);
    if (lost == sandboxes_.end() || !lost->second.end || lost->second.end->result != outcome::lost)
      return "a successor of a sandbox that is not lost";
    if (s.stopping) return "a successor in a run that stops";
    if (++s.replaced > s.asked.replace_lost) return "more successors than the run allows";
    if (e.number != s.replaced) return "a replacement with another number";
    if (!successors_.emplace(e.successor.value, e.lost.value).second) return "a successor twice";
  }
  if constexpr (std::is_same_v<E, swarm_closed>) {
    if (e.result == outcome::none) return "a swarm ends without an outcome";
    if (e.panes_completed != s.completed || e.panes_failed != s.failed)
      return "the end of a swarm counts other panes than ended: "
             + std::to_string(e.panes_completed) + " and " + std::to_string(e.panes_failed)
             + " instead of " + std::to_string(s.completed) + " and " + std::to_string(s.failed);
    s.end = e;
  }
  return {};
}

template <class E>
model::broken model::in_sandbox(const chunk& c, sandbox_state& s, const E& e, utc_time at) {
  constexpr bool reaping = one_of<E, kill_intended, kill_confirmed, create_failed, sandbox_created>;
  if (s.end && !reaping) return "a sandbox goes on after its end";
  if constexpr (std::is_same_v<E, sandbox_queued>) {
    if (std::exchange(s.queued, true)) return "a sandbox is queued twice";
    s.swarm = c.swarm.value;
    s.usd_per_hour = e.usd_per_hour;
    // From here on the one before does not count for the run's end.
    if (auto i = successors_.find(c.sandbox.value); i != successors_.end())
      for (const auto& [id, p] : panes_)
        if (p.sandbox == i->second && p.end)
          --(p.end->result == outcome::completed ? swarms_[s.swarm].completed
                                                 : swarms_[s.swarm].failed);
    return {};
  }
  if (!s.queued) return "a sandbox goes on before it is queued";
  if constexpr (std::is_same_v<E, create_intended>) {
    if (s.unresolved) return "a second create while the first is not resolved";
    if (!s.remote.empty()) return "a second create of a sandbox that is there";
    if (!intents_.emplace(e.intent, c.sandbox.value).second) return "an intent is used twice";
    if (auto b = admitted(c, e, at)) return b;
    s.intent = e.intent;
    s.unresolved = true;
    s.reserved = e.reserved_usd;
    if (s.charged_from == utc_time{}) s.charged_from = at;
  }
  if constexpr (std::is_same_v<E, sandbox_created>) {
    if (e.intent != s.intent) return "the answer to another create";
    s.remote = e.remote_id;
    s.unresolved = false;
  }
  if constexpr (std::is_same_v<E, create_failed>) {
    if (e.intent != s.intent) return "the end of another create";
    s.unresolved = false;
    if (budget_ends(s.swarm, at)) swarms_[s.swarm].ended_until = at;
    s.charged_from = {}; // what was not made costs nothing
    s.reserved = 0;
  }
  if constexpr (std::is_same_v<E, sandbox_fell_back>) {
    if (s.unresolved || !s.remote.empty()) return "a sandbox that may be somewhere falls back";
    s.usd_per_hour = e.usd_per_hour;
  }
  if constexpr (std::is_same_v<E, sandbox_failing>) {
    if (!e.why) return "a sandbox fails without an error";
    if (!s.failing) s.failing = e.why;
  }
  if constexpr (std::is_same_v<E, phase_changed>) {
    if (e.to <= s.at) return "a phase that is not later than the one before";
    s.at = e.to;
  }
  // A run that was being stopped for another reason may be killed for its money.
  if constexpr (one_of<E, kill_intended, sandbox_closed>)
    s.out_of_money = s.out_of_money || budget_ends(s.swarm, at);
  if constexpr (std::is_same_v<E, kill_intended>) s.kill_intended = true;
  if constexpr (std::is_same_v<E, kill_confirmed>) {
    if (!s.kill_intended) return "a kill is confirmed that nobody intended";
    if (s.kill_confirmed) return "a kill is confirmed twice";
    s.kill_confirmed = true;
    if (s.charged()) s.charged_until = at;
  }
  if constexpr (std::is_same_v<E, sandbox_closed>) {
    if (e.result == outcome::none) return "a sandbox ends without an outcome";
    if (s.failing && (e.why.code != s.failing->code || e.why.step != s.failing->step))
      return "a sandbox ends with another error than its first: "
             + std::string{to_string(e.why.code)} + " (" + e.why.step + ") instead of "
             + std::string{to_string(s.failing->code)} + " (" + s.failing->step + ")";
    if (e.result == outcome::lost && s.charged()) s.charged_until = at;
    for (const auto& [id, p] : panes_)
      if (p.sandbox == c.sandbox.value && !p.end) return "a sandbox ends before its pane " + id;
    s.at = phase::closed;
    s.end = e;
  }
  return {};
}

template <class E>
model::broken model::in_pane(const chunk& c, const E& e, utc_time at) {
  auto i = panes_.find(e.pane.value);
  if (i == panes_.end()) return "an event of a pane that was never created";
  auto& p = i->second;
  if (p.sandbox != c.sandbox.value) return "a pane in another sandbox's chunk";
  if (p.end) return "a pane goes on after its end";
  if constexpr (std::is_same_v<E, pane_start_intended>) {
    if (e.attempt != p.attempt + 1) return "an attempt that does not follow the one before";
    p.attempt = e.attempt;
  }
  if constexpr (one_of<E, pane_started, pane_exited>)
    if (e.attempt != p.attempt) return "an attempt that nobody intended";
  if constexpr (std::is_same_v<E, pane_budget_warned>) return pane_warned(e, at);
  if constexpr (std::is_same_v<E, pane_closed>) {
    if (e.result == outcome::none) return "a pane ends without an outcome";
    if (e.result == outcome::budget && !swarms_[sandboxes_[p.sandbox].swarm].out_of_money
        && !budget_ends(sandboxes_[p.sandbox].swarm, at) && !pane_budget_ends(e.pane.value, at))
      return "a pane is stopped for a budget that has not ended";
    auto& s = swarms_[sandboxes_[p.sandbox].swarm];
    ++(e.result == outcome::completed ? s.completed : s.failed);
    p.end = e;
  }
  return {};
}

model::broken model::take(const chunk& c, const any_event& e, utc_time at) {
  return std::visit(
      [&]<class E>(const E& x) -> broken {
        if constexpr (of_swarm<E>) return in_swarm(c.swarm.value, swarms_[c.swarm.value], x, at);
        if constexpr (of_sandbox<E>) return in_sandbox(c, sandboxes_[c.sandbox.value], x, at);
        if constexpr (std::is_same_v<E, pane_created>) {
          if (!panes_.emplace(x.pane.value, pane_state{c.sandbox.value, 0, {}, {}}).second)
            return "a pane is created twice";
        }
        if constexpr (of_pane<E>) return in_pane(c, x, at);
        if constexpr (std::is_same_v<E, budget_set>) {
          if (x.scope == budget_scope::day) {
            day_limit_ = x.limit_usd;
            day_limit_since_ = at;
          }
        }
        if constexpr (std::is_same_v<E, budget_warned>)
          return warned(purse_of_day(at), day_warned_[x.period], x.percent, x.spent_usd,
                        x.limit_usd);
        return {};
      },
      e);
}

// ---- the tables
// ----------------------------------------------------------------------------------

model::broken model::compare(const seen_tables& rows) const {
  std::size_t there = 0;
  for (const auto& [id, s] : swarms_)
    if (s.created) ++there;
  if (rows.swarms.size() != there) return "the tables have another number of swarms";
  for (const auto& r : rows.swarms) {
    const auto& s = swarms_.at(r.swarm.value);
    if ((r.state == swarm_phase::closed) != s.end.has_value())
      return r.swarm.value + ": row and events differ on whether it is closed";
    if (s.end && r.result != s.end->result) return r.swarm.value + ": another result in its row";
    double settled = 0;
    for (const auto& [id, b] : sandboxes_)
      if (b.swarm == r.swarm.value && b.charged_until != utc_time{})
        settled += cost(b, b.charged_until);
    if (std::abs(settled - r.cost_usd) > 1e-6)
      return r.swarm.value + ": its row has cost " + std::to_string(r.cost_usd) + ", its sandboxes "
             + std::to_string(settled);
  }
  for (const auto& [id, s] : swarms_)
    if (s.acknowledged && !s.created) return id + ": a run was acknowledged and is not there";
  if (rows.sandboxes.size() != sandboxes_.size())
    return "the tables have another number of sandboxes";
  for (const auto& r : rows.sandboxes) {
    auto i = sandboxes_.find(r.sandbox.value);
    if (i == sandboxes_.end()) return r.sandbox.value + ": a row without events";
    const auto& s = i->second;
    auto wrong = [&](const char* what) { return r.sandbox.value + ": " + what + " differs"; };
    if (r.state != s.at) return wrong("phase");
    if (r.intent != s.intent) return wrong("intent");
    if (r.unresolved != s.unresolved) return wrong("unresolved");
    if (r.remote_id != s.remote) return wrong("remote id");
    if (r.kill_intended != s.kill_intended) return wrong("kill intended");
    if (r.kill_confirmed != s.kill_confirmed) return wrong("kill confirmed");
    if (s.end && r.result != s.end->result) return wrong("result");
    if (s.end && r.kept != (s.end->kept && !s.kill_confirmed)) return wrong("kept");
  }
  if (rows.panes.size() != panes_.size()) return "the tables have another number of panes";
  for (const auto& r : rows.panes) {
    auto i = panes_.find(r.pane.value);
    if (i == panes_.end()) return r.pane.value + ": a row without events";
    if (r.attempt != i->second.attempt) return r.pane.value + ": attempt differs";
    if (i->second.end && r.result != i->second.end->result)
      return r.pane.value + ": result differs";
  }
  return {};
}

// ---- the provider
// --------------------------------------------------------------------------------

model::broken model::compare(const std::vector<seen_box>& boxes,
                             const std::vector<seen_kill>& kills, std::chrono::milliseconds now) {
  std::set<std::string> intents, there;
  for (const auto& b : boxes) {
    there.insert(b.remote_id);
    if (b.intent.empty()) continue; // a stranger's
    if (!intents_.count(b.intent)) return b.remote_id + " was made without an intent";
    if (!intents.insert(b.intent).second) return "two sandboxes of intent " + b.intent;
  }
  for (const auto& k : kills) {
    auto n = ++kills_[k.remote_id];
    if (n > 1 + misfortunes_)
      return k.remote_id + " was killed " + std::to_string(n) + " times and nothing had gone wrong";
  }
  for (auto& [id, s] : sandboxes_) {
    if (s.kill_confirmed && there.count(s.remote)) return id + " is said to be gone and is there";
    bool lives = !s.remote.empty() && !s.kill_intended && !lost_.count(s.remote) && !s.end;
    if (lives && !there.count(s.remote)) return id + " lives for us and is not there";
    if (s.end && s.end->kept && !s.kill_intended && !lost_.count(s.remote)
        && !there.count(s.remote))
      return id + " was to be kept and is not there";
    if (s.end && !std::exchange(s.ended_before, true))
      if (auto b = justified(id, s, now)) return b;
  }
  return {};
}

// Each outcome has its reason: something was asked for, somebody ended, or something went wrong.
model::broken model::justified(const std::string& id, const sandbox_state& s,
                               std::chrono::milliseconds now) const {
  const auto& swarm = swarms_.at(s.swarm);
  auto result = s.end->result;
  bool reason = true;
  switch (result) {
  case outcome::completed:
    reason = s.agents_done; // also when a wish to kill came while it was being cleared away
    break;
  case outcome::failed:
  case outcome::suspect:
    reason = s.agent_failed || misfortunes_ > 0;
    break;
  case outcome::timed_out:
    reason = now >= swarm.limit_at;
    break;
  case outcome::cancelled:
    reason = swarm.stop_asked;
    break;
  case outcome::killed:
    reason = swarm.kill_asked;
    break;
  case outcome::lost:
    reason = lost_.count(s.remote) > 0;
    break;
  case outcome::budget:
    reason = swarm.out_of_money || s.out_of_money
             || (s.failing && s.failing->code == errc::budget_spent);
    for (const auto& [pane, p] : panes_)
      reason = reason || (p.sandbox == id && p.end && p.end->result == outcome::budget);
    break;
  default:
    reason = false;
  }
  if (reason) return {};
  return id + " ended as " + std::string{to_string(result)}
         + " without a reason: " + s.end->why.message;
}

model::broken model::rest(const std::vector<seen_box>& boxes) const {
  for (const auto& b : boxes)
    if (!b.intent.empty()) return b.remote_id + " is left";
  for (const auto& [id, s] : swarms_)
    if (s.created && !s.end) return id + " never ended";
  for (const auto& [id, s] : sandboxes_) {
    if (!s.end) return id + " never ended";
    if (s.unresolved) return id + ": its create was never settled";
    if (s.kill_intended && !s.kill_confirmed) return id + ": its kill was never confirmed";
  }
  return {};
}

} // namespace skep::test
