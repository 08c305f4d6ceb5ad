#include "actors/usage_watch.hpp"

#include <algorithm>
#include <cmath>

namespace skep::actors {
namespace {

// Both come from inside: any two numbers, of which no more is made than a warning.
double percent(std::uint64_t used, std::uint64_t total) {
  constexpr double most = 999;
  if (total == 0) return 0;
  return std::min(most, 100.0 * static_cast<double>(used) / static_cast<double>(total));
}

} // namespace

usage_watch::verdict usage_watch::take(const usage_sampled& x, utc_time now) {
  verdict out;
  auto far = [](double a, double b) { return std::abs(a - b) >= differs_percent; };
  out.worth_an_event = !told_ || now - told_at_ >= told_after
                       || far(x.cpu_percent, told_->cpu_percent)
                       || far(percent(x.memory_bytes, x.memory_total_bytes),
                              percent(told_->memory_bytes, told_->memory_total_bytes))
                       || far(percent(x.disk_bytes, x.disk_total_bytes),
                              percent(told_->disk_bytes, told_->disk_total_bytes));
  look("memory", x.memory_bytes, x.memory_total_bytes, memory_warned_, out);
  look("disk", x.disk_bytes, x.disk_total_bytes, disk_warned_, out);
  out.worth_an_event |= !out.notices.empty();
  if (out.worth_an_event) {
    told_ = x;
    told_at_ = now;
  }
  return out;
}

void usage_watch::look(const char* what, std::uint64_t used, std::uint64_t total, bool& warned,
                       verdict& out) {
  auto percents = percent(used, total);
  auto part = percents / 100;
  auto text = std::string{what} + " in use: " + std::to_string(static_cast<int>(percents)) + " %";
  if (!warned && part >= near) {
    warned = true;
    out.notices.push_back({severity::warning, "near_limit", text});
  } else if (warned && part < at_ease) {
    warned = false;
    out.notices.push_back({severity::info, "limit_relaxed", text});
  }
}

} // namespace skep::actors
