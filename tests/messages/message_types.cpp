#include "tests/messages/message_types.hpp"

#include "messages/caf_inspect.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <map>
#include <typeindex>

namespace skep::test {
namespace {

// By their type: to compare each with all others would be compiled for every pair.
const std::map<std::type_index, std::string>& names_of_messages() {
  static const auto all = [] {
    std::map<std::type_index, std::string> out;
    for_each_message([&]<class M>(std::string_view name) { out.emplace(typeid(M), name); });
    return out;
  }();
  return all;
}

template <class T>
std::string type_name() {
  if constexpr (message<T>) {
    auto i = names_of_messages().find(typeid(T));
    return i == names_of_messages().end() ? "?" : i->second;
  } else if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (std::is_same_v<T, errc>) {
    return "errc";
  } else if constexpr (std::is_enum_v<T>) {
    std::string out = "enum:";
    for (std::size_t i = 0; i < enum_size<T>; ++i)
      out += (i ? "|" : "") + std::string{enum_names<T>::names[i]};
    return out;
  } else if constexpr (std::is_integral_v<T>) {
    return (std::is_signed_v<T> ? "i" : "u") + std::to_string(8 * sizeof(T));
  } else if constexpr (std::is_floating_point_v<T>) {
    return "f" + std::to_string(8 * sizeof(T));
  } else if constexpr (std::is_same_v<T, std::string>) {
    return "str";
  } else if constexpr (std::is_same_v<T, bytes>) {
    return "bytes";
  } else if constexpr (is_id<T>) {
    return "id:" + std::string{T::sigil};
  } else if constexpr (detail::is_duration<T>) {
    return "duration";
  } else if constexpr (std::is_same_v<T, utc_time>) {
    return "time";
  } else if constexpr (detail::is_vector<T>) {
    return "list<" + type_name<typename T::value_type>() + ">";
  } else {
    return "map<str,str>";
  }
}

template <class T>
field_facts facts_of(std::uint32_t number, std::string_view name, const T& value) {
  field_facts out{number, name, type_name<T>(), {}};
  string_sink sink{out.packed};
  packer p{sink};
  pack_value(p, value);
  return out;
}

template <message T>
class one_message : public any_message {
public:
  explicit one_message(T value) : value_(std::move(value)) {}

  std::string packed() const override { return pack(value_); }
  json as_json() const override { return to_json(value_); }
  std::vector<field_facts> fields() const override {
    std::vector<field_facts> out;
    for_each_field(value_,
                   [&](const auto& f) { out.push_back(facts_of(f.number, f.name, f.value)); });
    return out;
  }
  bool read(std::string_view data) override { return reads(data, value_); }
  bool read_json(const json& j) override { return from_json_value(j, value_); }
  bool same_as(const any_message& other) const override {
    return same(value_, static_cast<const one_message&>(other).value_);
  }
  bool through_caf(any_message& out, std::size_t cut) const override {
    std::vector<char> buffer;
    caf::binary_serializer sink{nullptr, buffer};
    auto in = value_; // CAF's inspect() takes what could be changed
    if (sink(in) || buffer.size() < cut) return false;
    buffer.resize(buffer.size() - cut);
    caf::binary_deserializer source{nullptr, buffer};
    return !source(static_cast<one_message&>(out).value_) && source.remaining() == 0;
  }

private:
  T value_;
};

} // namespace

const std::vector<message_type>& message_types() {
  static const auto all = [] {
    std::vector<message_type> out;
    for_each_message([&]<class T>(std::string_view name) {
      out.push_back({name,
                     []() -> any_message_ptr { return std::make_unique<one_message<T>>(T{}); },
                     [](fill_mode mode) -> any_message_ptr {
                       return std::make_unique<one_message<T>>(filled<T>(mode));
                     }});
    });
    return out;
  }();
  return all;
}

} // namespace skep::test
