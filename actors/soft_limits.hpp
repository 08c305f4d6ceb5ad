// Soft limits of a run's time: each is told once, by the daemon, with nobody watching.
//
//   |------------ 30 min ------------ 50 min ------------ 60 min: the hard limit, tested before
//   these
//
// What was told is stored (swarms.warned_ms), so a restart repeats none. When several were passed
// while the machine slept, the newest is told and names the others. Those at or beyond the hard
// limit never come.
#pragma once

#include "messages/events.hpp"
#include "messages/warnings.hpp"

#include <chrono>
#include <optional>

namespace skep::actors {

class soft_limits {
public:
  using milliseconds = std::chrono::milliseconds;

  /// `at_ms` ascending; `told_ms`: the latest that was told before.
  soft_limits(std::vector<std::int64_t> at_ms, std::int64_t limit_ms, std::int64_t told_ms);

  /// The warning that is due now, which counts as told from here on; nothing most of the time. Its
  /// cost and text are the caller's.
  std::optional<time_warning> due(milliseconds elapsed);

private:
  std::vector<std::int64_t> at_ms_;
  std::int64_t limit_ms_;
  std::int64_t told_ms_;
};

/// The same event with cost and text.
time_warning with_cost(time_warning w, const run_cost& cost);

/// What is told when the hard limit is reached.
time_limit_reached hard_limit(std::int64_t elapsed_ms, std::int64_t limit_ms, const run_cost& cost);

} // namespace skep::actors
