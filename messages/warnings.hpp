// The words of every event that warns of time, of a budget or of an idle pane: what it is about,
// and then the cost so far, said the same way in each.
#pragma once

#include "messages/enums.hpp"

#include <string>
#include <string_view>

namespace skep {

/// What something has cost so far.
struct run_cost {
  double usd = 0;
  bool whole = false; ///< The time of all its sandboxes is part of `usd`.
};

/// "$0.05 so far", or "$0.05 so far without the price of its sandboxes".
std::string so_far_text(const run_cost& cost);

/// "1.5 s", "30 min", "1.5 min": short times keep their seconds.
std::string minutes_text(std::int64_t ms);

/// "30 min of 60 min are over, $0.05 so far"
std::string time_text(std::int64_t elapsed_ms, std::int64_t limit_ms, const run_cost& cost);

/// "50 % of the budget of p0 ($0.20) is spent, $0.11 so far". `whose`: "p0", "the run".
std::string budget_text(std::uint32_t percent, std::string_view whose, double limit_usd,
                        const run_cost& cost);

/// Whose the budget of a scope is, for budget_text: "the run", "the day 2026-11-26". `id`: of a
/// day or month its name, of a pane the pane's.
std::string budget_owner(budget_scope scope, std::string_view id);

/// "p0 gave no sign of life for 10 min and is stopped in 1 min, $0.05 so far"
std::string idle_text(std::string_view pane, std::int64_t idle_ms, std::int64_t grace_ms,
                      const run_cost& cost);

} // namespace skep
