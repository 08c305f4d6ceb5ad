#include "tools/skepd/limits.hpp"

#include "host/gateway/prices.hpp"

#include <algorithm>
#include <thread>
#include <unistd.h>

namespace skep::tools {
namespace {

std::uint64_t memory_of_machine() {
  auto pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGE_SIZE);
  return pages > 0 && size > 0
             ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size)
             : 0;
}

void put(actors::max_count& to, const limit_setting& from) {
  if (from.given) to = from.most;
}

} // namespace

std::uint32_t local_capacity(unsigned cores, std::uint64_t memory_bytes) {
  auto by_memory = memory_bytes / (256ull << 20);
  return static_cast<std::uint32_t>(
      std::max<std::uint64_t>(10, std::min<std::uint64_t>(50ull * cores, by_memory)));
}

actors::limit_table limits_of(const config& settings) {
  actors::limit_table out;
  auto& local = out.providers["local"];
  local.section = "local";
  local.max_active =
      local_capacity(std::max(1u, std::thread::hardware_concurrency()), memory_of_machine());
  put(local.max_active, settings.local_max_active);
  put(local.max_starting, settings.local_max_starting);
  local.usd_per_hour = settings.local_usd_per_hour;
  for (const auto& [name, p] : settings.providers) {
    auto rules = actors::metered_rules("providers." + name);
    if (p.simulated) {
      rules = {};
      rules.section = "providers." + name;
    }
    if (p.usd_per_hour) rules.usd_per_hour = *p.usd_per_hour;
    put(rules.max_active, p.max_active);
    put(rules.max_active_per_repo, p.max_active_per_repo);
    put(rules.creates_per_minute, p.creates_per_minute);
    put(rules.creates_per_hour, p.creates_per_hour);
    put(rules.creates_per_day, p.creates_per_day);
    put(rules.max_starting, p.max_starting);
    out.providers[name] = rules;
  }
  out.day_usd = settings.day_usd;
  out.month_usd = settings.month_usd;
  return out;
}

actors::policies policies_of(const config& settings) {
  auto out = settings.policy.limits;
  out.create_at["local"].lease_cap = std::chrono::hours{24}; // what skep-host gives at most
  for (const auto& [name, p] : settings.providers)
    out.create_at[name] = p.create;
  out.budget_wind_down = settings.budget_wind_down;
  return out;
}

std::function<bool(const std::string&)> priced_models(const config& settings) {
  auto prices = host::known_prices();
  for (const auto& [model, text] : settings.local_prices)
    if (auto price = host::parse_price(text)) prices[model] = *price;
  return [prices](const std::string& model) { return host::price_of(prices, model).has_value(); };
}

} // namespace skep::tools
