// The field list: one place per message that says which members it has, under which number they
// travel and under which name people see them.
//
//   struct pane_started {
//     pane_id pane;
//     std::int64_t pid = 0;
//     SKEP_FIELDS(field(1, "pane", x.pane), field(2, "pid", x.pid))
//   };
//
// Four things derive from it: CAF's inspect (caf_inspect.hpp), msgpack (codec.hpp: a map keyed by
// number), JSON (json.hpp: an object keyed by name) and the schema list that a golden file pins.
// A member that is not in the list does not compile: check_fields<T>() compares the length of the
// list with the number of members of the aggregate. Numbers are never reused.
//
// Members may be: bool, integers, double, std::string, bytes, ids, enums of enums.hpp, chrono
// durations, utc_time, other messages, std::vector of these, std::map<std::string, std::string>.
// std::optional is not supported (CAF 0.17 cannot carry it): use a default that means "absent".
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace skep {

/// A point in wall time, in milliseconds since the Unix epoch, UTC.
using utc_time = std::chrono::sys_time<std::chrono::milliseconds>;

/// Raw bytes; travel as msgpack bin and as base64 in JSON.
struct bytes {
  std::string data;
  friend bool operator==(const bytes&, const bytes&) = default;
};

/// One entry of a field list: number on the wire, name in JSON, the member itself.
template <class T>
struct field_ref {
  std::uint32_t number;
  std::string_view name;
  T& value;
};

template <class T>
constexpr field_ref<T> field(std::uint32_t number, std::string_view name, T& value) {
  return {number, name, value};
}

/// Declares the field list inside a struct; `x` is the object. The fields are handed to a visitor,
/// not kept in a tuple: what a tuple needs of templates for each message was a good part of what
/// compiling them took.
#define SKEP_FIELDS(...)                                                                           \
  using field_list_is_here = void;                                                                 \
  template <class Self, class Visitor>                                                             \
  static constexpr decltype(auto) with_fields([[maybe_unused]] Self& x, Visitor&& visit) {         \
    return visit(__VA_ARGS__);                                                                     \
  }

namespace detail {
struct any_member {
  template <class T>
  operator T() const;
};
template <class T, class Seq>
struct brace_constructible;
template <class T, std::size_t... I>
struct brace_constructible<T, std::index_sequence<I...>> {
  static constexpr bool value = requires { T{(static_cast<void>(I), any_member{})...}; };
};
struct field_counter {
  template <class... Fields>
  constexpr std::integral_constant<std::size_t, sizeof...(Fields)> operator()(Fields...) const {
    return {};
  }
};
} // namespace detail

/// True when the aggregate T has just N members: it takes N values in braces, and not one more.
template <class T, std::size_t N>
constexpr bool has_members =
    detail::brace_constructible<T, std::make_index_sequence<N>>::value
    && !detail::brace_constructible<T, std::make_index_sequence<N + 1>>::value;

/// True for structs with a field list.
template <class T>
concept message = std::is_aggregate_v<T> && requires {
  typename T::field_list_is_here;
};

template <class T>
constexpr std::size_t field_count =
    decltype(T::with_fields(std::declval<T&>(), detail::field_counter{}))::value;

/// Does not compile when a member of T is missing from its field list.
template <message T>
constexpr bool check_fields() {
  static_assert(has_members<T, field_count<T>>,
                "a member of this struct is missing from its field list");
  return true;
}

/// Calls f(field_ref) for every field, in list order.
template <message T, class F>
constexpr void for_each_field(T& x, F&& f) {
  static_assert(check_fields<std::remove_const_t<T>>());
  std::remove_const_t<T>::with_fields(x, [&](auto... fs) { (f(fs), ...); });
}

/// Memberwise equality by the field list, for tests and idempotency checks.
template <message T>
bool same(const T& a, const T& b);

namespace detail {
template <class T>
bool same_value(const T& a, const T& b) {
  if constexpr (message<T>) {
    return same(a, b);
  } else if constexpr (requires {
                         typename T::value_type;
                         a.size();
                       }
                       && !std::is_same_v<T, std::string>) {
    if (a.size() != b.size()) return false;
    auto j = b.begin();
    for (const auto& x : a)
      if (!same_value(x, *j++)) return false;
    return true;
  } else {
    return a == b;
  }
}
} // namespace detail

template <message T>
bool same(const T& a, const T& b) {
  return T::with_fields(a, [&](auto... of_a) {
    return T::with_fields(
        b, [&](auto... of_b) { return (detail::same_value(of_a.value, of_b.value) && ...); });
  });
}

} // namespace skep
