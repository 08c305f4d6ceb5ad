// A number as it stands in a request to the guest: decimal digits, and nothing else.
#pragma once

#include <charconv>
#include <concepts>
#include <string_view>
#include <system_error>

namespace skep::guest {

/// True when all of `text` is one number that fits into `out`; `out` is to be ignored otherwise.
template <std::unsigned_integral T>
bool parse_number(std::string_view text, T& out) {
  const auto* const end = text.data() + text.size();
  auto [stopped, failed] = std::from_chars(text.data(), end, out);
  return failed == std::errc{} && stopped == end;
}

} // namespace skep::guest
