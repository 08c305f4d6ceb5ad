#include "actors/soft_limits.hpp"

#include "messages/money.hpp"

#include <array>
#include <cstdio>

namespace skep::actors {
namespace {

std::string minutes(std::int64_t ms) {
  std::array<char, 40> out{};
  if (ms < 60'000)
    std::snprintf(out.data(), out.size(), "%.3g s", static_cast<double>(ms) / 1000);
  else if (ms % 60'000 == 0)
    std::snprintf(out.data(), out.size(), "%lld min", static_cast<long long>(ms / 60'000));
  else
    std::snprintf(out.data(), out.size(), "%.1f min", static_cast<double>(ms) / 60'000);
  return out.data();
}

} // namespace

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

std::string time_text(std::int64_t elapsed_ms, std::int64_t limit_ms, const run_cost& cost) {
  return minutes(elapsed_ms) + " of " + minutes(limit_ms) + " are over, " + money_text(cost.usd)
         + (cost.whole ? " so far" : " so far without the price of its sandboxes");
}

time_warning with_cost(time_warning w, const run_cost& cost) {
  w.cost_usd = cost.usd;
  w.cost_whole = cost.whole;
  w.text = time_text(w.elapsed_ms, w.limit_ms, cost);
  for (std::size_t i = 0; i < w.others_ms.size(); ++i)
    w.text += (i == 0 ? "; passed before and not told: " : ", ") + minutes(w.others_ms[i]);
  return w;
}

time_limit_reached hard_limit(std::int64_t elapsed_ms, std::int64_t limit_ms,
                              const run_cost& cost) {
  return {elapsed_ms, limit_ms, cost.usd, cost.whole,
          "the time limit is reached: " + time_text(elapsed_ms, limit_ms, cost)};
}

} // namespace skep::actors
