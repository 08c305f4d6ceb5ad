// What models cost, as far as it is known here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace skep::host {

/// Dollars for a million tokens, which is micro-dollars for one.
struct model_price {
  double input = 0;
  double output = 0;
  double cache_write = 0; ///< Input that is stored for later calls, for 5 minutes.
  double cache_read = 0;  ///< Input that was stored.
};

/// Input that is stored for an hour, as a multiple of the price of input.
inline constexpr double hour_cache_write_factor = 2;
/// One search of the web that a model's provider made for it, in micro-dollars.
inline constexpr double web_search_micro_usd = 10'000;

/// By the beginning of a model's name; the longest one counts.
using price_table = std::map<std::string, model_price, std::less<>>;

/// List prices that were known when this release was made: prices_date, prices_source. They are no
/// bill, and nobody keeps them up to date: `local.prices` in skep.toml puts others in their place.
const price_table& known_prices();
inline constexpr std::string_view prices_date = "2025-11";
inline constexpr std::string_view prices_source = "Anthropic's public price list";

/// "IN,OUT,CACHE_WRITE,CACHE_READ" in dollars for a million tokens, each from 0 to 1,000,000.
/// Nothing: it is something else.
std::optional<model_price> parse_price(std::string_view text);

/// The price of a model; nothing when it is not known.
std::optional<model_price> price_of(const price_table& table, std::string_view model);

} // namespace skep::host
