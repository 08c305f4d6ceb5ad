#include "actors/spend.hpp"

#include "messages/money.hpp"

namespace skep::actors {
namespace {

// Less is what the sum of sandboxes' times leaves of a difference.
constexpr double least_model_usd = 1e-6;

double cost_of(double usd_per_hour, std::chrono::seconds t) {
  return time_cost_usd(usd_per_hour, std::chrono::milliseconds{t});
}

} // namespace

budget_step judge(const budget_view& b, const policies& p) {
  if (!b.in_force()) return budget_step::none;
  // A kill saves the time that would go on. What models cost ends by itself: the gateway refuses.
  if (b.usd_per_hour > 0 && b.spent_usd + cost_of(b.usd_per_hour, p.budget_kill) >= b.limit_usd)
    return budget_step::kill;
  if (b.spent_usd + cost_of(b.usd_per_hour, p.budget_wind_down) >= b.limit_usd)
    return budget_step::wind_down;
  // A call without a known price has cost nobody knows how much: the cap cannot hold any more.
  return b.unpriced_calls > 0 ? budget_step::wind_down : budget_step::none;
}

bool kill_is_due(const budget_view& b, double usd_per_hour, std::chrono::milliseconds winding,
                 const policies& p) {
  if (usd_per_hour <= 0) return winding >= p.budget_wind_down;
  return judge(b, p) == budget_step::kill
         && (b.model_usd < least_model_usd || winding >= p.budget_kill);
}

std::uint32_t warning_level(const budget_view& b) {
  if (!b.in_force() || b.limit_usd <= 0) return 0;
  auto share = b.spent_usd / b.limit_usd;
  return share >= 0.8 ? 80 : share >= 0.5 ? 50 : 0;
}

std::string warning_key(budget_scope scope, const std::string& id, std::uint32_t percent) {
  return std::string{to_string(scope)} + " " + id + " " + std::to_string(percent);
}

double reserve_of(double usd_per_hour, const policies& p) {
  return cost_of(usd_per_hour, 2 * p.budget_wind_down);
}

error room_for(const budget_view& b, double reserved_usd) {
  if (!b.in_force()) return {};
  if (b.spent_usd < b.limit_usd && b.spent_usd + b.reserved_usd + reserved_usd <= b.limit_usd)
    return {};
  return make_error(errc::budget_spent, "the budget of the " + std::string{to_string(b.scope)} + " "
                                            + b.id + ": " + money_text(b.spent_usd) + " of "
                                            + money_text(b.limit_usd) + " spent, "
                                            + money_text(b.reserved_usd) + " reserved");
}

std::vector<budget_view> shared_budgets(const storage::spend_state& s, const limit_table& table,
                                        utc_time now) {
  budget_view day, month;
  day.scope = budget_scope::day;
  day.id = storage::day_name(now);
  day.spent_usd = s.day_time_usd + s.day_model_usd;
  day.model_usd = s.day_model_usd;
  month.scope = budget_scope::month;
  month.id = storage::month_name(now);
  month.spent_usd = s.month_time_usd + s.month_model_usd;
  month.model_usd = s.month_model_usd;
  for (const auto& x : s.placed)
    for (auto [b, begin] :
         {std::pair{&day, storage::day_begin(now)}, std::pair{&month, storage::month_begin(now)}}) {
      auto from = std::max(x.charged_from, begin);
      if (from < now) b->spent_usd += time_cost_usd(x.usd_per_hour, now - from);
      b->reserved_usd += x.still_reserved(now);
      b->usd_per_hour += x.usd_per_hour;
      b->unpriced_calls += x.unpriced_calls;
    }
  auto limit_from = [&](budget_view& b, const std::optional<double>& file) {
    if (auto i = s.set_limits.find(b.scope); i != s.set_limits.end()) {
      b.limit_usd = i->second;
      b.set_by = "command";
    } else if (file) {
      b.limit_usd = *file;
      b.set_by = "skep.toml";
    }
  };
  limit_from(day, table.day_usd);
  limit_from(month, table.month_usd);
  return {day, month};
}

budget_view budget_of(const storage::spend_state& s, const swarm_record& swarm, utc_time now) {
  budget_view out;
  out.scope = budget_scope::swarm;
  out.id = swarm.swarm.value;
  out.spent_usd = swarm.cost_usd;
  out.model_usd = swarm.cost_usd - swarm.time_cost_usd;
  if (swarm.budget_usd > 0) {
    out.limit_usd = swarm.budget_usd;
    out.set_by = "run";
  }
  for (const auto& x : s.placed) {
    if (x.swarm != swarm.swarm) continue;
    out.spent_usd += x.time_usd(now);
    out.reserved_usd += x.still_reserved(now);
    out.usd_per_hour += x.usd_per_hour;
    out.unpriced_calls += x.unpriced_calls;
  }
  return out;
}

budget_view& budget_rooms::own(const swarm_id& swarm) {
  auto i = own_.find(swarm);
  if (i != own_.end()) return i->second;
  budget_view b;
  for (const auto& w : state_.open_swarms)
    if (w.swarm == swarm) b = budget_of(state_, w, now_);
  return own_.emplace(swarm, std::move(b)).first->second;
}

void budget_rooms::reserve(const swarm_id& swarm, double usd) {
  for (auto& b : shared_)
    b.reserved_usd += usd;
  own(swarm).reserved_usd += usd;
}

error budget_rooms::take(const swarm_id& swarm, double usd) {
  for (const auto& b : shared_)
    if (auto e = room_for(b, usd)) return e;
  if (auto e = room_for(own(swarm), usd)) return e;
  reserve(swarm, usd);
  return {};
}

budget_line line_of(const budget_view& b) {
  return {b.scope,        b.id,           b.limit_usd, b.spent_usd,
          b.reserved_usd, b.usd_per_hour, b.model_usd, b.set_by};
}

double rest_of(const budget_view& b, const policies& p) {
  return std::max(b.limit_usd - b.spent_usd - cost_of(b.usd_per_hour, p.budget_wind_down), 0.0);
}

double pane_cost_usd(const pane_record& pane, const std::vector<pane_record>& all,
                     const sandbox_record& box, utc_time now) {
  double told = 0;
  for (const auto& p : all)
    told += p.cost_usd;
  auto panes = static_cast<double>(std::max<std::size_t>(all.size(), 1));
  auto until = pane.state == pane_phase::closed ? pane.closed_at : now;
  auto time = box.charged_from == utc_time{} || until < box.charged_from
                  ? 0.0
                  : time_cost_usd(box.usd_per_hour, until - box.charged_from);
  return pane.cost_usd + std::max(box.model_cost_usd - told, 0.0) / panes + time / panes;
}

} // namespace skep::actors
