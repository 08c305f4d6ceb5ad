// What a sandbox and a swarm have cost so far, from their rows: the one place that adds it up, for
// warnings, lists and summaries.
//
//   time    usd_per_hour * (charged_from .. charged_until, or now)   from the intent to create it
//                                                                  until it is confirmed gone
//   models  model_cost_usd                                         the gateway's count, or what
//                                                                  agents say
#pragma once

#include "messages/records.hpp"

#include <algorithm>
#include <vector>

namespace skep {

/// What `length` of a sandbox's time costs.
inline double time_cost_usd(double usd_per_hour, std::chrono::milliseconds length) {
  return usd_per_hour * static_cast<double>(length.count()) / 3'600'000.0;
}

/// True while the time of the sandbox costs.
inline bool is_charged(const sandbox_record& s) {
  return s.charged_from != utc_time{} && s.charged_until == utc_time{};
}

/// What the time of a sandbox has cost until `now`, not rounded.
inline double time_cost_usd(const sandbox_record& s, utc_time now) {
  if (s.charged_from == utc_time{}) return 0;
  auto until = s.charged_until == utc_time{} ? now : s.charged_until;
  return time_cost_usd(s.usd_per_hour,
                       std::max(until - s.charged_from, std::chrono::milliseconds{0}));
}

/// Time and models of one sandbox.
inline double cost_usd(const sandbox_record& s, utc_time now) {
  return time_cost_usd(s, now) + s.model_cost_usd;
}

/// Time and models of one swarm. `its` may hold sandboxes of other swarms too.
inline double cost_usd(const swarm_record& w, const std::vector<sandbox_record>& its,
                       utc_time now) {
  auto sum = w.cost_usd;
  for (const auto& s : its)
    if (s.swarm == w.swarm && is_charged(s)) sum += time_cost_usd(s, now);
  return sum;
}

} // namespace skep
