// JSON schemas of what `skep --json` prints, made from the field lists, and a reader of such
// schemas for tests. The files in docs/json/ are these, written out.
#pragma once

#include "messages/commands.hpp"
#include "messages/json.hpp"

#include <map>
#include <string>

namespace skep::cli_test {

inline json object_of(json properties) {
  json out{{"type", "object"}, {"properties", properties}, {"required", json::array()}};
  for (const auto& [name, _] : properties.items())
    out["required"].push_back(name);
  out["additionalProperties"] = false;
  return out;
}

inline json typed(const char* type) {
  return {{"type", type}};
}
inline json list_of(json items) {
  return {{"type", "array"}, {"items", std::move(items)}};
}

/// The schema of T's JSON form (messages/json.hpp).
template <class T>
json schema_of() {
  if constexpr (message<T>) {
    json properties = json::object();
    T x{};
    for_each_field(x, [&](auto&& f) {
      properties[std::string{f.name}] = schema_of<std::remove_cvref_t<decltype(f.value)>>();
    });
    return object_of(std::move(properties));
  } else if constexpr (std::is_same_v<T, bool>) {
    return typed("boolean");
  } else if constexpr (std::is_same_v<T, errc>) {
    return typed("string");
  } else if constexpr (std::is_enum_v<T>) {
    json names = json::array();
    for (auto n : enum_names<T>::names)
      names.push_back(std::string{n});
    return {{"enum", names}};
  } else if constexpr (std::is_same_v<T, bytes>) {
    return {{"type", "string"}, {"contentEncoding", "base64"}};
  } else if constexpr (std::is_floating_point_v<T>) {
    return typed("number");
  } else if constexpr (std::is_integral_v<
                           T> || std::is_same_v<T, utc_time> || detail::is_duration<T>) {
    return typed("integer");
  } else if constexpr (detail::is_vector<T>) {
    return list_of(schema_of<typename T::value_type>());
  } else if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) {
    return {{"type", "object"}, {"additionalProperties", typed("string")}};
  } else {
    return typed("string");
  }
}

/// File name in docs/json/ without ".schema.json" -> schema.
std::map<std::string, json> all_schemas();

/// Why `value` does not fit `schema`; empty when it does. Knows the words that our schemas use.
std::string mismatch(const json& schema, const json& value, const std::string& where = "$");

} // namespace skep::cli_test
