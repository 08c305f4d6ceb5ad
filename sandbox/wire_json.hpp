// Reading foreign JSON without surprises: shared by the wire*.cpp files, and theirs alone.
#pragma once

#include "messages/json.hpp"
#include "messages/nesting.hpp"
#include "sandbox/errors.hpp"
#include "sandbox/wire.hpp"

#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::sandbox {
struct log_entry;
}

namespace skep::sandbox::wire {

using value = nlohmann::json;

inline error not_understood(std::string_view body) {
  return make_error(errc::protocol, "the answer is not understood", foreign_text(body));
}

inline result<std::string> dump(const value& x) {
  try {
    return x.dump();
  } catch (const nlohmann::json::exception&) {
    return make_error(errc::bad_argument, "a text is not UTF-8");
  }
}

/// Reads members of one object; the first wrong type makes it bad.
class reader {
public:
  explicit reader(const value& object) : object_(object), good_(object.is_object()) {}

  bool good() const { return good_; }
  const value* member(const char* name) const {
    if (!object_.is_object()) return nullptr;
    auto i = object_.find(name);
    return i == object_.end() || i->is_null() ? nullptr : &*i;
  }
  std::string text(const char* name) {
    auto* x = member(name);
    if (!x) return {};
    if (!x->is_string()) good_ = false;
    return x->is_string() ? x->get<std::string>() : std::string{};
  }
  bool boolean(const char* name) {
    auto* x = member(name);
    if (!x) return false;
    if (!x->is_boolean()) good_ = false;
    return x->is_boolean() && x->get<bool>();
  }
  /// Integers come as numbers or, when they have 64 bits, as text.
  template <class T>
  T integer(const char* name) {
    auto* x = member(name);
    if (!x) return {};
    T out{};
    if (x->is_string()) {
      const auto& s = x->get_ref<const std::string&>();
      auto [end, bad] = std::from_chars(s.data(), s.data() + s.size(), out);
      if (bad != std::errc{} || end != s.data() + s.size()) good_ = false;
    } else if (x->is_number_unsigned()) {
      auto n = x->get<std::uint64_t>();
      if (!std::in_range<T>(n)) good_ = false;
      out = static_cast<T>(n);
    } else if (x->is_number_integer()) {
      auto n = x->get<std::int64_t>();
      if (!std::in_range<T>(n)) good_ = false;
      out = static_cast<T>(n);
    } else {
      good_ = false;
    }
    return out;
  }
  std::map<std::string, std::string> text_map(const char* name) {
    std::map<std::string, std::string> out;
    auto* x = member(name);
    if (!x) return out;
    if (!x->is_object()) {
      good_ = false;
      return out;
    }
    for (const auto& [key, v] : x->items()) {
      if (!v.is_string()) good_ = false;
      out[key] = v.is_string() ? v.get<std::string>() : std::string{};
    }
    return out;
  }

  double number(const char* name) {
    auto* x = member(name);
    if (!x) return 0;
    if (!x->is_number()) good_ = false;
    return x->is_number() ? x->get<double>() : 0;
  }
  /// RFC 3339; nothing when it is absent.
  std::optional<std::chrono::system_clock::time_point> time(const char* name) {
    auto at = text(name);
    if (at.empty()) return {};
    auto out = read_time(at);
    if (!out) good_ = false;
    return out;
  }
  std::vector<std::string> texts(const char* name) {
    std::vector<std::string> out;
    each(name, [&](const value& x) {
      if (!x.is_string()) good_ = false;
      out.push_back(x.is_string() ? x.get<std::string>() : std::string{});
    });
    return out;
  }
  /// Runs `f` for every element of an array; an absent one has none.
  template <class F>
  void each(const char* name, F f) {
    auto* x = member(name);
    if (!x) return;
    if (!x->is_array()) {
      good_ = false;
      return;
    }
    for (const auto& element : *x)
      f(element);
  }
  void bad() { good_ = false; }

private:
  const value& object_;
  bool good_;
};

/// What is nested too deep is as little understood as what is no JSON.
inline value parse(std::string_view body) {
  if (nested_too_deep(body)) return value(value::value_t::discarded);
  return value::parse(body, nullptr, false);
}

/// Of create, connect, resume and forks.
std::optional<created> created_of(const value& x);
bool fill_log(const value& x, log_entry& out);
bool fill_entry(const value& x, entry& out);

} // namespace skep::sandbox::wire
