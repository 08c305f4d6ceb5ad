// msgpack codec over the field lists.
//
//   message  = map { field number (positive integer) => value }
//   bool, integers, double, str        as msgpack has them
//   enum     = its number; errc = its number; id = str with sigil; bytes = bin
//   duration, utc_time = integer milliseconds
//   vector   = array; map<string,string> = map
//
// Readers skip unknown numbers, missing ones keep the default of the struct, a value of the wrong
// type, an enum number out of range or a double that is not finite is errc::bad_frame. Nothing here
// throws towards the caller.
#pragma once

#include "messages/enums.hpp"
#include "messages/error.hpp"
#include "messages/fields.hpp"
#include "messages/ids.hpp"

#include <msgpack.hpp>

#include <cmath>
#include <limits>
#include <span>

namespace skep {

namespace detail {
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_duration = false;
template <class R, class P>
inline constexpr bool is_duration<std::chrono::duration<R, P>> = true;
template <class>
inline constexpr bool always_false = false;
} // namespace detail

/// Appends to a std::string; what msgpack::packer writes to.
struct string_sink {
  std::string& out;
  void write(const char* data, std::size_t size) { out.append(data, size); }
};
using packer = msgpack::packer<string_sink>;

template <class T>
void pack_value(packer& p, const T& x) {
  if constexpr (message<T>) {
    p.pack_map(static_cast<std::uint32_t>(field_count<T>));
    for_each_field(x, [&](const auto& f) {
      p.pack_uint32(f.number);
      pack_value(p, f.value);
    });
  } else if constexpr (std::is_same_v<T, bool>) {
    x ? p.pack_true() : p.pack_false();
  } else if constexpr (std::is_enum_v<T>) {
    p.pack_uint32(static_cast<std::uint32_t>(x));
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    p.pack_int64(x);
  } else if constexpr (std::is_integral_v<T>) {
    p.pack_uint64(x);
  } else if constexpr (std::is_floating_point_v<T>) {
    p.pack_double(x);
  } else if constexpr (std::is_same_v<T, std::string>) {
    p.pack_str(static_cast<std::uint32_t>(x.size()));
    p.pack_str_body(x.data(), static_cast<std::uint32_t>(x.size()));
  } else if constexpr (std::is_same_v<T, bytes>) {
    p.pack_bin(static_cast<std::uint32_t>(x.data.size()));
    p.pack_bin_body(x.data.data(), static_cast<std::uint32_t>(x.data.size()));
  } else if constexpr (is_id<T>) {
    pack_value(p, x.value);
  } else if constexpr (detail::is_duration<T>) {
    p.pack_int64(std::chrono::duration_cast<std::chrono::milliseconds>(x).count());
  } else if constexpr (std::is_same_v<T, utc_time>) {
    p.pack_int64(x.time_since_epoch().count());
  } else if constexpr (detail::is_vector<T>) {
    p.pack_array(static_cast<std::uint32_t>(x.size()));
    for (const auto& y : x)
      pack_value(p, y);
  } else if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) {
    p.pack_map(static_cast<std::uint32_t>(x.size()));
    for (const auto& [k, v] : x) {
      pack_value(p, k);
      pack_value(p, v);
    }
  } else {
    static_assert(detail::always_false<T>, "no wire form for this type");
  }
}

/// Reads `o` into `x`; false when the type does not fit. Unknown fields are skipped.
template <class T>
bool unpack_value(const msgpack::object& o, T& x) {
  namespace mt = msgpack::type;
  if constexpr (message<T>) {
    if (o.type != mt::MAP) return false;
    bool good = true;
    for (const auto& kv : std::span{o.via.map.ptr, o.via.map.size}) {
      if (kv.key.type != mt::POSITIVE_INTEGER) return false;
      for_each_field(x, [&](auto&& f) {
        if (f.number == kv.key.via.u64) good = good && unpack_value(kv.val, f.value);
      });
    }
    return good;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (o.type != mt::BOOLEAN) return false;
    x = o.via.boolean;
    return true;
  } else if constexpr (std::is_same_v<T, errc>) {
    if (o.type != mt::POSITIVE_INTEGER || o.via.u64 > std::numeric_limits<std::uint16_t>::max())
      return false;
    x = static_cast<errc>(o.via.u64); // codes of newer peers are kept; info() maps them to internal
    return true;
  } else if constexpr (std::is_enum_v<T>) {
    if (o.type != mt::POSITIVE_INTEGER || o.via.u64 >= enum_size<T>) return false;
    x = static_cast<T>(o.via.u64);
    return true;
  } else if constexpr (std::is_integral_v<T>) {
    if (o.type == mt::POSITIVE_INTEGER) {
      if (o.via.u64 > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return false;
      x = static_cast<T>(o.via.u64);
      return true;
    }
    if constexpr (std::is_signed_v<T>) {
      if (o.type == mt::NEGATIVE_INTEGER && o.via.i64 >= std::numeric_limits<T>::min()) {
        x = static_cast<T>(o.via.i64);
        return true;
      }
    }
    return false;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (o.type == mt::FLOAT64 || o.type == mt::FLOAT32)
      x = o.via.f64;
    else if (o.type == mt::POSITIVE_INTEGER)
      x = static_cast<T>(o.via.u64);
    else if (o.type == mt::NEGATIVE_INTEGER)
      x = static_cast<T>(o.via.i64);
    else
      return false;
    return std::isfinite(x); // JSON and SQL cannot say anything else
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (o.type != mt::STR) return false;
    x.assign(o.via.str.ptr, o.via.str.size);
    return true;
  } else if constexpr (std::is_same_v<T, bytes>) {
    if (o.type != mt::BIN) return false;
    x.data.assign(o.via.bin.ptr, o.via.bin.size);
    return true;
  } else if constexpr (is_id<T>) {
    return unpack_value(o, x.value) && (x.empty() || x.valid());
  } else if constexpr (detail::is_duration<T>) {
    std::int64_t n = 0;
    if (!unpack_value(o, n)) return false;
    x = std::chrono::duration_cast<T>(std::chrono::milliseconds{n});
    return true;
  } else if constexpr (std::is_same_v<T, utc_time>) {
    std::int64_t n = 0;
    if (!unpack_value(o, n)) return false;
    x = utc_time{std::chrono::milliseconds{n}};
    return true;
  } else if constexpr (detail::is_vector<T>) {
    if (o.type != mt::ARRAY) return false;
    x.clear();
    x.reserve(std::min<std::size_t>(o.via.array.size, 4096));
    for (const auto& y : std::span{o.via.array.ptr, o.via.array.size})
      if (!unpack_value(y, x.emplace_back())) return false;
    return true;
  } else if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) {
    if (o.type != mt::MAP) return false;
    x.clear();
    for (const auto& kv : std::span{o.via.map.ptr, o.via.map.size}) {
      std::string k, v;
      if (!unpack_value(kv.key, k) || !unpack_value(kv.val, v)) return false;
      x.insert_or_assign(std::move(k), std::move(v));
    }
    return true;
  } else {
    static_assert(detail::always_false<T>, "no wire form for this type");
  }
}

/// Appends the msgpack form of `x` to `out`.
template <message T>
void pack_to(std::string& out, const T& x) {
  string_sink sink{out};
  packer p{sink};
  pack_value(p, x);
}

template <message T>
std::string pack(const T& x) {
  std::string out;
  pack_to(out, x);
  return out;
}

/// Parses one msgpack object from `data` at `offset` and moves `offset` behind it. The handle's
/// object refers to copies in its own zone. Nesting deeper than 32, and more elements than there
/// are bytes, are refused before anything is allocated for them.
result<msgpack::object_handle> parse_object(std::string_view data, std::size_t& offset);

/// Reads a whole message; bytes behind it are an error.
template <message T>
result<T> unpack(std::string_view data) {
  std::size_t offset = 0;
  auto handle = parse_object(data, offset);
  if (!handle) return handle.err();
  T x;
  if (offset != data.size() || !unpack_value(handle->get(), x))
    return make_error(errc::bad_frame, "not a valid message of the expected type");
  return x;
}

} // namespace skep
