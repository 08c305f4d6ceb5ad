#include "actors/soft_limits.hpp"

namespace skep::actors {

soft_limits::soft_limits(std::vector<std::int64_t> at_ms, std::int64_t limit_ms,
                         std::int64_t told_ms)
    : at_ms_(std::move(at_ms)), limit_ms_(limit_ms), told_ms_(told_ms) {
  std::erase_if(at_ms_, [&](auto at) { return at >= limit_ms_; });
}

std::optional<time_warning> soft_limits::due(milliseconds elapsed) {
  time_warning out;
  for (auto at : at_ms_) {
    if (at <= told_ms_ || at > elapsed.count()) continue;
    if (out.threshold_ms > 0) out.others_ms.push_back(out.threshold_ms);
    out.threshold_ms = at;
  }
  if (out.threshold_ms == 0) return std::nullopt;
  told_ms_ = out.threshold_ms;
  out.elapsed_ms = elapsed.count();
  out.limit_ms = limit_ms_;
  return out;
}

time_warning with_cost(time_warning w, const run_cost& cost) {
  w.cost_usd = cost.usd;
  w.cost_whole = cost.whole;
  w.text = time_text(w.elapsed_ms, w.limit_ms, cost);
  for (std::size_t i = 0; i < w.others_ms.size(); ++i)
    w.text += (i == 0 ? "; passed before and not told: " : ", ") + minutes_text(w.others_ms[i]);
  return w;
}

time_limit_reached hard_limit(std::int64_t elapsed_ms, std::int64_t limit_ms,
                              const run_cost& cost) {
  return {elapsed_ms, limit_ms, cost.usd, cost.whole,
          "the time limit is reached: " + time_text(elapsed_ms, limit_ms, cost)};
}

} // namespace skep::actors
