#include "host/gateway/prices.hpp"

#include <charconv>

namespace skep::host {

const price_table& known_prices() {
  static const price_table table = {
      {"claude-3-haiku", {0.25, 1.25, 0.30, 0.03}}, {"claude-3-5-haiku", {0.80, 4, 1, 0.08}},
      {"claude-haiku-4-5", {1, 5, 1.25, 0.10}},     {"claude-3-5-sonnet", {3, 15, 3.75, 0.30}},
      {"claude-3-7-sonnet", {3, 15, 3.75, 0.30}},   {"claude-sonnet-4", {3, 15, 3.75, 0.30}},
      {"claude-3-opus", {15, 75, 18.75, 1.50}},     {"claude-opus-4-2025", {15, 75, 18.75, 1.50}},
      {"claude-opus-4-1", {15, 75, 18.75, 1.50}},   {"claude-opus-4-5", {5, 25, 6.25, 0.50}}};
  return table;
}

std::optional<model_price> parse_price(std::string_view text) {
  constexpr double most = 1'000'000;
  model_price out;
  for (double* to : {&out.input, &out.output, &out.cache_write, &out.cache_read}) {
    auto [end, ec] =
        std::from_chars(text.data(), text.data() + text.size(), *to, std::chars_format::fixed);
    if (ec != std::errc{} || !(*to >= 0 && *to <= most)) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    bool last = to == &out.cache_read;
    if (last ? !text.empty() : !text.starts_with(',')) return std::nullopt;
    if (!last) text.remove_prefix(1);
  }
  return out;
}

std::optional<model_price> price_of(const price_table& table, std::string_view model) {
  std::optional<model_price> out;
  std::size_t best = 0;
  for (const auto& [name, price] : table)
    if (!name.empty() && model.starts_with(name) && name.size() > best) {
      best = name.size();
      out = price;
    }
  return out;
}

} // namespace skep::host
