// What admission and budgets are decided by, as the tables have it at one moment.
#pragma once

#include "messages/cost.hpp"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace skep::storage {

/// A sandbox that holds a place at its provider: its create was intended, and neither has that
/// failed nor has the provider confirmed that it is gone.
struct placed_sandbox {
  sandbox_id sandbox;
  swarm_id swarm;
  std::string provider;
  std::string repo; ///< Of its swarm.
  phase state = phase::queued;
  bool unresolved = false;
  bool kill_intended = false;
  bool kept = false;
  double usd_per_hour = 0;
  utc_time charged_from{};
  double model_cost_usd = 0;
  double reserved_usd = 0;
  std::uint64_t unpriced_calls = 0;
  utc_time lease_end{};
  /// It was kept, and its lease on record is over: as good as gone, until its provider says that it
  /// is, or has it all the same because somebody gave it more time.
  bool lease_over = false;

  double time_usd(utc_time now) const {
    if (charged_from == utc_time{} || now < charged_from) return 0;
    return time_cost_usd(usd_per_hour, now - charged_from);
  }
  /// What is kept free for it beyond what it has cost.
  double still_reserved(utc_time now) const {
    return std::max(reserved_usd - time_usd(now) - model_cost_usd, 0.0);
  }
};

struct spend_state {
  std::vector<placed_sandbox> placed;
  std::vector<swarm_record> open_swarms; ///< Newest first.
  /// Creates of the last 24 h by provider: when they were intended, oldest first. Those that a
  /// former daemon with a clock ahead dated later than now count from the start of the newest one.
  std::map<std::string, std::vector<utc_time>> creates;
  /// Settled on this day and in this month (UTC).
  double day_time_usd = 0, day_model_usd = 0;
  double month_time_usd = 0, month_model_usd = 0;
  std::map<budget_scope, double> set_limits; ///< By command; below 0: none.
  std::set<std::string> warnings;            ///< "swarm sw_x 50": those that were given.
};

/// The first moment of the day and of the month (UTC) that `at` is in.
utc_time day_begin(utc_time at);
utc_time month_begin(utc_time at);
/// "2026-11-26", "2026-11".
std::string day_name(utc_time at);
std::string month_name(utc_time at);

} // namespace skep::storage
