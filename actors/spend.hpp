// Budgets: what was spent, what would be spent if everything ended now, and what follows. No actor,
// no clock.
//
//   spent ----- 50 % ----- 80 % ------------ wind down -- kill -- cap
//               warning    warning               |          |
//                                    cap - wind_down * burn |
//                                               cap - kill * burn
//
// burn: what the time of the sandboxes that are there costs. Models are bounded at their gateway by
// the sandbox's allowance, which the SANDBOX sets; the last call that it lets through reaches the
// cap or passes it, and nothing is spent behind it. So what models spent is always wound down first
// (kill_is_due).
#pragma once

#include "actors/limit_rules.hpp"
#include "actors/policy.hpp"

namespace skep::actors {

/// What stands in a budget's line, and what counts against it.
struct budget_view {
  budget_scope scope = budget_scope::swarm;
  std::string id;
  double limit_usd = -1; ///< Below 0: none.
  double spent_usd = 0;
  double reserved_usd = 0;
  double usd_per_hour = 0;
  double model_usd = 0;
  std::uint64_t unpriced_calls = 0; ///< Of the sandboxes that are there.
  std::string set_by;

  bool in_force() const { return limit_usd >= 0; }
};

/// What is to be done about a budget.
enum class budget_step : std::uint8_t { none, wind_down, kill };
/// By what the time that stopping takes will cost; where no time costs, there is nothing to kill
/// for. Calls without a known price wind down.
budget_step judge(const budget_view& b, const policies& p);
/// Whether a swarm that has been winding down for its budget `b` for so long is killed; its time
/// costs `usd_per_hour`. Where that is nothing: once budget_wind_down is over. Else by the time
/// that stopping takes; of models, which may jump over that margin, no sooner than after
/// budget_kill.
bool kill_is_due(const budget_view& b, double usd_per_hour, std::chrono::milliseconds winding,
                 const policies& p);
/// 0, 50 or 80: the share of the budget that is spent.
std::uint32_t warning_level(const budget_view& b);
/// The name of a warning, as the tables have it.
std::string warning_key(budget_scope scope, const std::string& id, std::uint32_t percent);

/// What one sandbox needs free of every budget: the time to begin and the time to end.
double reserve_of(double usd_per_hour, const policies& p);
/// Whether a budget has room for one more: budget_spent with the amounts otherwise.
error room_for(const budget_view& b, double reserved_usd);

/// The budgets of day and month; limits of a command go before those of skep.toml.
std::vector<budget_view> shared_budgets(const storage::spend_state& s, const limit_table& table,
                                        utc_time now);
/// The budget of one open swarm.
budget_view budget_of(const storage::spend_state& s, const swarm_record& swarm, utc_time now);

/// The room of all budgets at one moment, while one sandbox after the other is admitted.
class budget_rooms {
public:
  /// `s` outlives it.
  budget_rooms(const storage::spend_state& s, const limit_table& table, utc_time now)
      : state_(s), now_(now), shared_(shared_budgets(s, table, now)) {}
  /// Keeps so much free of the budgets of all and of this swarm.
  void reserve(const swarm_id& swarm, double usd);
  /// budget_spent when one of them has no room for so much; else it is reserved.
  error take(const swarm_id& swarm, double usd);

private:
  budget_view& own(const swarm_id& swarm);

  const storage::spend_state& state_;
  utc_time now_;
  std::vector<budget_view> shared_;
  std::map<swarm_id, budget_view> own_;
};

budget_line line_of(const budget_view& b);

/// What is left of a budget in force once the end of its sandboxes is paid for; >= 0. Models may
/// cost it: each sandbox is allowed what its models have cost and the whole rest, set again on each
/// of its ticks, so that what several spend at once is what they spend within one tick.
double rest_of(const budget_view& b, const policies& p);

/// One pane of a sandbox and what it has cost: its agent's account, an even share of what the
/// gateway counted beyond all accounts, and an even share of the sandbox's time until it closed.
double pane_cost_usd(const pane_record& pane, const std::vector<pane_record>& all,
                     const sandbox_record& box, utc_time now);

} // namespace skep::actors
