#include "host/web_text.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

namespace skep::host {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

template <class Number>
bool read_number(std::string_view text, Number& out) {
  if (text.empty()) return false;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc{} && end == text.data() + text.size();
}

template <class F>
bool for_each_part(std::string_view text, char separator, F f) {
  while (!text.empty()) {
    auto end = text.find(separator);
    auto part = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (!part.empty() && !f(part)) return false;
  }
  return true;
}

} // namespace

std::optional<std::string> url_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      if (i + 2 >= text.size()) return {};
      auto high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return {};
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

std::optional<std::vector<std::pair<std::string, std::string>>>
parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> out;
  bool good = for_each_part(query, '&', [&](std::string_view part) {
    auto equals = part.find('=');
    auto key = url_decode(part.substr(0, equals));
    auto value = equals == std::string_view::npos ? std::optional<std::string>{std::in_place}
                                                  : url_decode(part.substr(equals + 1));
    if (!key || !value) return false;
    out.emplace_back(std::move(*key), std::move(*value));
    return true;
  });
  if (!good) return {};
  return out;
}

std::optional<string_map> parse_metadata_filter(std::string_view value) {
  auto whole = url_decode(value);
  if (!whole) return {};
  string_map out;
  bool good = for_each_part(*whole, '&', [&](std::string_view part) {
    auto equals = part.find('=');
    if (equals == std::string_view::npos || part.find('=', equals + 1) != std::string_view::npos)
      return false;
    auto key = url_decode(part.substr(0, equals)), text = url_decode(part.substr(equals + 1));
    if (!key || !text) return false;
    out[*key] = *text;
    return true;
  });
  if (!good) return {};
  return out;
}

std::string format_time(std::int64_t ms) {
  const auto rest = (ms % 1000 + 1000) % 1000; // of a time before 1970 too
  const auto seconds = static_cast<time_t>((ms - rest) / 1000);
  tm t{};
  ::gmtime_r(&seconds, &t);
  char text[96]; // strftime's %Y pads no year
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900,
                t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, static_cast<int>(rest));
  return text;
}

namespace {

// Years of four digits, as RFC 3339 has them.
std::optional<std::int64_t> within_years(std::int64_t ms) {
  constexpr std::int64_t year_0 = -62'167'219'200'000, year_10000 = 253'402'300'800'000;
  return ms >= year_0 && ms < year_10000 ? std::optional{ms} : std::nullopt;
}

} // namespace

std::optional<std::int64_t> parse_time(std::string_view text) {
  // 2026-01-02T03:04:05[.fraction](Z|+hh:mm|-hh:mm)
  tm t{};
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't')
      || text[13] != ':' || text[16] != ':')
    return {};
  if (!read_number(text.substr(0, 4), t.tm_year) || !read_number(text.substr(5, 2), t.tm_mon)
      || !read_number(text.substr(8, 2), t.tm_mday) || !read_number(text.substr(11, 2), t.tm_hour)
      || !read_number(text.substr(14, 2), t.tm_min) || !read_number(text.substr(17, 2), t.tm_sec))
    return {};
  if (t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 || t.tm_mday > 31 || t.tm_hour > 23
      || t.tm_min > 59 || t.tm_sec > 60)
    return {};
  t.tm_year -= 1900;
  t.tm_mon -= 1;
  std::int64_t ms = static_cast<std::int64_t>(::timegm(&t)) * 1000;
  text.remove_prefix(19);
  if (text.starts_with('.')) {
    int weight = 100;
    text.remove_prefix(1);
    if (text.empty() || text[0] < '0' || text[0] > '9') return {};
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      ms += (text[0] - '0') * weight;
      weight /= 10;
      text.remove_prefix(1);
    }
  }
  if (text == "Z" || text == "z") return within_years(ms);
  int hours = 0, minutes = 0;
  // In a query, the + of an offset may have been read as a space.
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-' && text[0] != ' ') || text[3] != ':'
      || !read_number(text.substr(1, 2), hours) || !read_number(text.substr(4, 2), minutes))
    return {};
  std::int64_t offset = (hours * 60ll + minutes) * 60'000;
  return within_years(text[0] == '-' ? ms + offset : ms - offset);
}

std::string format_token(const page_token& t) {
  return std::to_string(t.started_at_ms) + "__" + t.sandbox_id + (t.ascending ? "__asc" : "");
}

std::optional<page_token> parse_token(std::string_view text) {
  page_token out;
  if (text.ends_with("__asc")) {
    out.ascending = true;
    text.remove_suffix(5);
  }
  auto middle = text.find("__");
  if (middle == std::string_view::npos || !read_number(text.substr(0, middle), out.started_at_ms)
      || !valid_sandbox_id(text.substr(middle + 2)))
    return {};
  out.sandbox_id = text.substr(middle + 2);
  return out;
}

bool valid_template_id(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '/'
           || c == ':' || c == '.';
  });
}

} // namespace skep::host
