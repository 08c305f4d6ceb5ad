// Texts around the JSON: URLs, ids, ranges, times.
#include "sandbox/wire.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace skep::sandbox::wire {

std::string url_encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    const bool plain = (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || (u >= '0' && u <= '9')
                       || c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(digits[u >> 4U]);
      out.push_back(digits[u & 15U]);
    }
  }
  return out;
}

bool valid_remote_id(std::string_view id) {
  return !id.empty() && id.size() <= 100 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'
           || c == '_';
  });
}

std::optional<std::uint64_t> read_number(std::string_view text) {
  std::uint64_t out = 0;
  auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (bad != std::errc{} || end != text.data() + text.size()) return {};
  return out;
}

std::optional<std::uint64_t> read_content_range(std::string_view text) {
  auto slash = text.rfind('/');
  if (!text.starts_with("bytes ") || slash == std::string_view::npos) return {};
  return read_number(text.substr(slash + 1));
}

std::int64_t unix_ms(std::chrono::system_clock::time_point at) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

std::string write_time(std::chrono::system_clock::time_point at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{std::chrono::floor<std::chrono::milliseconds>(at - day)};
  char out[48];
  std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                static_cast<int>(time.subseconds().count()));
  return out;
}

std::optional<std::chrono::system_clock::time_point> read_time(std::string_view text) {
  // 2026-01-02T03:04:05[.fraction](Z|+hh:mm|-hh:mm)
  auto number = [&](std::size_t at, std::size_t size, unsigned& out) {
    if (text.size() < at + size) return false;
    out = 0;
    for (char c : text.substr(at, size)) {
      if (c < '0' || c > '9') return false;
      out = out * 10 + static_cast<unsigned>(c - '0');
    }
    return true;
  };
  auto is = [&](std::size_t at, std::string_view any) {
    return at < text.size() && any.find(text[at]) != std::string_view::npos;
  };
  unsigned year, month, day, hour, minute, second;
  if (!number(0, 4, year) || !is(4, "-") || !number(5, 2, month) || !is(7, "-")
      || !number(8, 2, day) || !is(10, "Tt ") || !number(11, 2, hour) || !is(13, ":")
      || !number(14, 2, minute) || !is(16, ":") || !number(17, 2, second))
    return {};
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(year)},
                                         std::chrono::month{month}, std::chrono::day{day}};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return {};
  std::size_t at = 19;
  std::chrono::nanoseconds fraction{0};
  if (is(at, ".")) {
    std::int64_t unit = 100'000'000;
    for (++at; is(at, "0123456789"); ++at, unit /= 10)
      fraction += std::chrono::nanoseconds{(text[at] - '0') * unit};
  }
  std::chrono::minutes offset{0};
  if (is(at, "+-")) {
    unsigned h, m;
    if (!number(at + 1, 2, h) || !is(at + 3, ":") || !number(at + 4, 2, m) || h > 23 || m > 59)
      return {};
    offset = std::chrono::hours{h} + std::chrono::minutes{m};
    if (text[at] == '-') offset = -offset;
    at += 6;
  } else if (is(at, "Zz")) {
    ++at;
  } else {
    return {};
  }
  if (at != text.size()) return {};
  // Within what nanoseconds can tell, as differences too: others are far in the past or the future,
  // like Go's zero time of the year 1.
  if (year < 1900) return std::chrono::sys_days{std::chrono::year{1900} / 1 / 1};
  if (year > 2190) return std::chrono::sys_days{std::chrono::year{2190} / 12 / 31};
  using clock = std::chrono::system_clock;
  return std::chrono::time_point_cast<clock::duration>(
      std::chrono::sys_days{date} + std::chrono::hours{hour} + std::chrono::minutes{minute}
      + std::chrono::seconds{second} + fraction - offset);
}

} // namespace skep::sandbox::wire
