// What becomes of a run that is asked for: limits, budgets and prices together, without an actor or
// a clock. ADMISSION answers by it, and `skep run --dry-run` where no daemon runs.
#pragma once

#include "actors/spend.hpp"

#include <functional>

namespace skep::actors {

/// What is known of the cost of models where a run would be.
struct model_prices {
  bool asked = false; ///< Its agents ask models.
  /// True of a provider that counts what they cost while they are at work. Null: none does.
  std::function<bool(const std::string& provider)> counted_at;
  std::function<bool(const std::string& model)> known; ///< Null: every one is.
};

/// All that is looked at. What it refers to outlives it.
struct run_question {
  const limit_table& table;
  const policies& limits;
  const storage::spend_state& state;
  provider_load load; ///< What counts at the run's provider.
  model_prices models;
  utc_time now{};
  /// True when dead sandboxes hold the place that is missing, so that there will be room; null:
  /// none do.
  std::function<bool(const hold&)> makes_room;
};

/// Lowers the time limit so that it fits below the longest life that the entries of its provider
/// and of its fallback give a sandbox, with the lease's grace, and says so in `remarks`;
/// out_of_range when nothing is left.
error fit_limit(const policies& p, swarm_spec& spec, std::vector<std::string>& remarks);

/// never_fits, budget_spent or price_unknown; for a run that does not queue also quota or rate when
/// not all of its sandboxes find a place at once. Of its fallback it must fit that one sandbox can
/// be there, and be paid for. None: it may begin.
error refuse_run(const swarm_spec& spec, const run_question& q);

/// The whole answer to a plan, by the two above.
plan_reply plan_of(swarm_spec spec, const run_question& q);

/// Those that hold the place which `h` misses for a run of `repo` at `provider`. They point into
/// `s`.
std::vector<const storage::placed_sandbox*> holders_of(const hold& h, const storage::spend_state& s,
                                                       const std::string& provider,
                                                       const std::string& repo);
/// A dead one among them: it ended, and its provider has not confirmed that it is gone.
bool is_over(const storage::placed_sandbox& x);

} // namespace skep::actors
