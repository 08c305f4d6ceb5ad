// Money in the model, as docs/operations.md has it: a sandbox costs its provider's price from its
// create intent until it is confirmed gone; warnings at 50 and 80 % of each budget, once; 60 s of
// the burn rate before the cap a run is stopped, 5 s before it is killed; what has no room is
// refused, and room means: what was spent, what is reserved for those that are there, and two
// minutes of one more.
#include "tests/actors/model/model.hpp"

#include <algorithm>
#include <cmath>

namespace skep::test {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double little = 1e-6; // dollars: sums of products that another order rounds otherwise
constexpr seconds wind_down{60}, last_kill{5};
/// What a daemon that nothing disturbs may need to notice and to act: its ticks are 1 s and 5 s.
constexpr seconds patience{15};
/// After a misfortune nothing is called overdue for so long: restarts wait up to a minute.
constexpr seconds recovery{180};

constexpr std::chrono::hours a_day{24};

utc_time day_of(utc_time at) {
  return utc_time{at.time_since_epoch() - at.time_since_epoch() % milliseconds{a_day}};
}
double of_time(double usd_per_hour, milliseconds t) {
  return usd_per_hour * static_cast<double>(std::max<std::int64_t>(t.count(), 0)) / 3'600'000.0;
}

} // namespace

double model::cost(const sandbox_state& s, utc_time at) {
  if (s.charged_from == utc_time{}) return 0;
  auto until = s.charged_until == utc_time{} ? at : std::min(at, s.charged_until);
  return of_time(s.usd_per_hour, until - s.charged_from);
}

double model::day_cost(utc_time at) const {
  double sum = 0;
  for (const auto& [id, s] : sandboxes_) {
    if (s.charged_from == utc_time{}) continue;
    auto until = s.charged_until == utc_time{} ? at : std::min(at, s.charged_until);
    sum += of_time(s.usd_per_hour, until - std::max(s.charged_from, day_of(at)));
  }
  return sum;
}

model::purse model::purse_of(const std::string& swarm, utc_time at) const {
  purse p;
  if (auto i = swarms_.find(swarm); i != swarms_.end() && i->second.asked.budget_usd > 0)
    p.limit = i->second.asked.budget_usd;
  for (const auto& [id, s] : sandboxes_) {
    if (s.swarm != swarm) continue;
    p.spent += cost(s, at);
    if (!s.charged()) continue;
    p.reserved += std::max(s.reserved - cost(s, at), 0.0);
    p.burn_per_second += s.usd_per_hour / 3600;
  }
  return p;
}

model::purse model::purse_of_day(utc_time at) const {
  purse p;
  p.limit = day_limit_;
  p.spent = day_cost(at);
  for (const auto& [id, s] : sandboxes_) {
    if (!s.charged()) continue;
    p.reserved += std::max(s.reserved - cost(s, at), 0.0);
    p.burn_per_second += s.usd_per_hour / 3600;
  }
  return p;
}

double model::need() const {
  return of_time(usd_per_hour_, 2 * wind_down);
}

bool model::has_room(const purse& p, double need) {
  return !p.in_force()
         || (p.spent < p.limit + little && p.spent + p.reserved + need <= p.limit + little);
}

errc model::would_take(const asked_run& asked, utc_time wall) const {
  for (auto usd : {asked.budget_usd, asked.pane_budget_usd * asked.panes})
    if (usd > 0 && usd < need() - little) return errc::never_fits;
  return has_room(purse_of_day(wall), need()) ? errc::none : errc::budget_spent;
}

// ---- what was said ------------------------------------------------------------------------------

model::broken model::warned(const purse& p, std::set<std::uint32_t>& before, std::uint32_t percent,
                            double spent, double limit) const {
  if (!p.in_force() || std::abs(limit - p.limit) > little)
    return "a warning of a budget of " + std::to_string(limit) + ", which is "
           + std::to_string(p.limit);
  if (std::abs(spent - p.spent) > little)
    return "a warning says that " + std::to_string(spent) + " are spent, and it is "
           + std::to_string(p.spent);
  if (percent != 50 && percent != 80) return "a warning at another share than 50 or 80 %";
  if (spent < limit * percent / 100 - little) return "a warning that comes too soon";
  if (!before.insert(percent).second) return "a warning that was given before";
  return {};
}

model::broken model::pane_warned(const pane_budget_warned& e, utc_time at) {
  auto& p = panes_.at(e.pane.value);
  const auto& box = sandboxes_.at(p.sandbox);
  const auto& asked = swarms_.at(box.swarm).asked;
  purse mine;
  mine.limit = asked.pane_budget_usd > 0 ? asked.pane_budget_usd : -1;
  mine.spent = cost(box, at) / asked.panes;
  return warned(mine, p.warned, e.percent, e.spent_usd, e.limit_usd);
}

// The decision may be older than its intent by a few moments, in which the others went on costing.
model::broken model::admitted(const chunk& c, const create_intended& e, utc_time at) const {
  if (std::abs(e.reserved_usd - need()) > little) return "another amount is reserved than needed";
  for (auto p : {purse_of(c.swarm.value, at), purse_of_day(at)}) {
    p.spent -= p.burn_per_second * 5;
    if (!has_room(p, e.reserved_usd))
      return "a create is intended that no budget has room for: " + std::to_string(p.spent)
             + " spent, " + std::to_string(p.reserved) + " reserved of " + std::to_string(p.limit);
  }
  return {};
}

bool model::budget_ends(const std::string& swarm, utc_time at) const {
  for (const auto& p : {purse_of(swarm, at), purse_of_day(at)})
    if (p.in_force()
        && p.spent + p.burn_per_second * static_cast<double>(wind_down.count()) >= p.limit - little)
      return true;
  return false;
}

bool model::pane_budget_ends(const std::string& pane, utc_time at) const {
  const auto& box = sandboxes_.at(panes_.at(pane).sandbox);
  if (box.failing && box.failing->code == errc::budget_spent) return true;
  const auto& asked = swarms_.at(box.swarm).asked;
  return asked.pane_budget_usd > 0
         && (cost(box, at) + of_time(box.usd_per_hour, wind_down)) / asked.panes
                >= asked.pane_budget_usd - little;
}

// ---- what is overdue ----------------------------------------------------------------------------

model::broken model::money(utc_time wall) {
  for (auto& [id, s] : swarms_)
    if (auto b = cap_of(id, s)) return b;
  if (wall - calm_since_ < recovery) return {};
  for (const auto& [id, s] : swarms_)
    if (auto b = overdue(id, s, wall)) return b;
  return {};
}

model::broken model::overdue(const std::string& id, const swarm_state& s, utc_time wall) const {
  if (!s.created || s.end) return {};
  auto p = purse_of(id, wall - patience);
  for (auto percent : {50u, 80u})
    if (p.in_force() && p.spent >= p.limit * percent / 100 && !s.warned.count(percent))
      return id + ": no warning of " + std::to_string(percent) + " % although "
             + std::to_string(p.spent) + " of " + std::to_string(p.limit) + " are spent";
  auto now = purse_of(id, wall);
  auto ended = [&](const purse& before, const purse& after) {
    auto burn = std::min(before.burn_per_second, after.burn_per_second);
    return before.in_force()
           && before.spent + burn * static_cast<double>(wind_down.count()) >= before.limit + little;
  };
  if (!s.stopping && ended(p, now)) return id + " goes on although its budget ends";
  if (!s.stopping && wall - patience > day_limit_since_ && day_of(wall) == day_of(wall - patience)
      && ended(purse_of_day(wall - patience), purse_of_day(wall)))
    return id + " goes on although the budget of the day ends";
  return {};
}

// Once nothing of a run costs any more: at most 5 s of the burn rate above its cap, unless
// something went wrong meanwhile, such as the kill itself.
model::broken model::cap_of(const std::string& id, swarm_state& s) const {
  if (s.cap_checked || s.asked.budget_usd <= 0 || !s.end) return {};
  double spent = 0, burn = 0;
  for (const auto& [box, b] : sandboxes_) {
    if (b.swarm != id) continue;
    if (b.charged()) return {};
    spent += cost(b, b.charged_until);
    burn += b.usd_per_hour / 3600;
  }
  s.cap_checked = true;
  if (misfortunes_ > s.misfortunes_before) return {};
  if (spent <= s.asked.budget_usd + burn * static_cast<double>(last_kill.count()) + little)
    return {};
  return id + " has cost " + std::to_string(spent) + " of at most "
         + std::to_string(s.asked.budget_usd);
}

} // namespace skep::test
