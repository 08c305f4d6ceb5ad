// JSON form of messages, for people and scripts (--json): objects keyed by field name.
// Enums and error codes are their names, durations and times integer milliseconds (the field's name
// ends in _ms), bytes are base64. One schema file per document stands in docs/json/.
#pragma once

#include "messages/codec.hpp"

#include <nlohmann/json.hpp>

namespace skep {

/// Keeps the order of the field list, so that output is stable.
using json = nlohmann::ordered_json;

std::string base64_encode(std::string_view data);
/// Accepts standard and URL-safe alphabets, with or without padding (at most two =); false on
/// anything else.
bool base64_decode(std::string_view text, std::string& out);

template <class T>
json to_json_value(const T& x) {
  if constexpr (message<T>) {
    json out = json::object();
    for_each_field(x, [&](const auto& f) { out[std::string{f.name}] = to_json_value(f.value); });
    return out;
  } else if constexpr (std::is_same_v<T, errc>) {
    return std::string{to_string(x)};
  } else if constexpr (std::is_enum_v<T>) {
    return std::string{to_string(x)};
  } else if constexpr (std::is_same_v<T, bytes>) {
    return base64_encode(x.data);
  } else if constexpr (is_id<T>) {
    return x.value;
  } else if constexpr (detail::is_duration<T>) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(x).count();
  } else if constexpr (std::is_same_v<T, utc_time>) {
    return x.time_since_epoch().count();
  } else if constexpr (detail::is_vector<T>) {
    json out = json::array();
    for (const auto& y : x)
      out.push_back(to_json_value(y));
    return out;
  } else {
    return x;
  }
}

/// Reads an integer that fits T; fractions, truth values and texts are no integers.
template <class T>
bool from_json_integer(const json& j, T& x) {
  if (!j.is_number_integer()) return false;
  if (j.is_number_unsigned() ? !std::in_range<T>(j.get<std::uint64_t>())
                             : !std::in_range<T>(j.get<std::int64_t>()))
    return false;
  x = j.get<T>();
  return true;
}

template <class T>
bool from_json_value(const json& j, T& x) {
  if constexpr (message<T>) {
    if (!j.is_object()) return false;
    bool good = true;
    for_each_field(x, [&](auto&& f) {
      auto i = j.find(std::string{f.name});
      if (i != j.end()) good = good && from_json_value(*i, f.value);
    });
    return good;
  } else if constexpr (std::is_same_v<T, errc>) {
    if (!j.is_string()) return false;
    auto name = j.get<std::string>();
    if (name == "none") {
      x = errc::none;
      return true;
    }
    for (const auto& e : all_errors())
      if (e.name == name) {
        x = e.code;
        return true;
      }
    return false;
  } else if constexpr (std::is_enum_v<T>) {
    return j.is_string() && from_string(j.get_ref<const std::string&>(), x);
  } else if constexpr (std::is_same_v<T, bytes>) {
    return j.is_string() && base64_decode(j.get_ref<const std::string&>(), x.data);
  } else if constexpr (is_id<T>) {
    return from_json_value(j, x.value) && (x.empty() || x.valid());
  } else if constexpr (detail::is_duration<T>) {
    std::int64_t n = 0;
    if (!from_json_integer(j, n)) return false;
    x = std::chrono::duration_cast<T>(std::chrono::milliseconds{n});
    return true;
  } else if constexpr (std::is_same_v<T, utc_time>) {
    std::int64_t n = 0;
    if (!from_json_integer(j, n)) return false;
    x = utc_time{std::chrono::milliseconds{n}};
    return true;
  } else if constexpr (detail::is_vector<T>) {
    if (!j.is_array()) return false;
    x.clear();
    for (const auto& y : j)
      if (!from_json_value(y, x.emplace_back())) return false;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!j.is_boolean()) return false;
    x = j.get<bool>();
    return true;
  } else if constexpr (std::is_integral_v<T>) {
    return from_json_integer(j, x);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!j.is_number()) return false;
    x = j.get<T>();
    return std::isfinite(x);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!j.is_string()) return false;
    x = j.get_ref<const std::string&>();
    return true;
  } else if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) {
    if (!j.is_object()) return false;
    x.clear();
    for (auto i = j.begin(); i != j.end(); ++i)
      if (!from_json_value(i.value(), x[i.key()])) return false;
    return true;
  } else {
    static_assert(detail::always_false<T>, "no JSON form for this type");
  }
}

template <message T>
json to_json(const T& x) {
  return to_json_value(x);
}

/// Text on one line; bytes that are not UTF-8 become U+FFFD.
inline std::string to_line(const json& j) {
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace skep
