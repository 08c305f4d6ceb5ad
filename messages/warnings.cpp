#include "messages/warnings.hpp"

#include "messages/money.hpp"

#include <array>
#include <cstdio>

namespace skep {

std::string so_far_text(const run_cost& cost) {
  return money_text(cost.usd)
         + (cost.whole ? " so far" : " so far without the price of its sandboxes");
}

std::string minutes_text(std::int64_t ms) {
  std::array<char, 40> out{};
  if (ms < 60'000)
    std::snprintf(out.data(), out.size(), "%.3g s", static_cast<double>(ms) / 1000);
  else if (ms % 60'000 == 0)
    std::snprintf(out.data(), out.size(), "%lld min", static_cast<long long>(ms / 60'000));
  else
    std::snprintf(out.data(), out.size(), "%.1f min", static_cast<double>(ms) / 60'000);
  return out.data();
}

std::string time_text(std::int64_t elapsed_ms, std::int64_t limit_ms, const run_cost& cost) {
  return minutes_text(elapsed_ms) + " of " + minutes_text(limit_ms) + " are over, "
         + so_far_text(cost);
}

std::string budget_text(std::uint32_t percent, std::string_view whose, double limit_usd,
                        const run_cost& cost) {
  return std::to_string(percent) + " % of the budget of " + std::string{whose} + " ("
         + money_text(limit_usd) + ") is spent, " + so_far_text(cost);
}

std::string budget_owner(budget_scope scope, std::string_view id) {
  if (scope == budget_scope::swarm) return "the run";
  if (scope == budget_scope::pane) return std::string{id};
  return "the " + std::string{to_string(scope)} + " " + std::string{id};
}

std::string idle_text(std::string_view pane, std::int64_t idle_ms, std::int64_t grace_ms,
                      const run_cost& cost) {
  return std::string{pane} + " gave no sign of life for " + minutes_text(idle_ms)
         + " and is stopped in " + minutes_text(grace_ms) + ", " + so_far_text(cost);
}

} // namespace skep
