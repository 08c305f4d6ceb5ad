#include "messages/caf_inspect.hpp"
#include "tests/messages/all_messages.hpp"
#include "tests/support/catch.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>

using namespace skep;
using namespace skep::test;

namespace {

template <message T>
bool survives_caf(T in) {
  std::vector<char> buffer;
  caf::binary_serializer sink{nullptr, buffer};
  if (sink(in)) return false;
  T out;
  caf::binary_deserializer source{nullptr, buffer};
  if (source(out)) return false;
  return source.remaining() == 0 && same(in, out);
}

} // namespace

TEST_CASE("every message survives CAF's serializer unchanged") {
  for_each_message([]<class T>(std::string_view name) {
    INFO(name);
    CHECK(survives_caf(T{}));
    CHECK(survives_caf(filled<T>()));
  });
}

TEST_CASE("CAF's deserializer reports a message that was cut short") {
  for_each_message([]<class T>(std::string_view name) {
    INFO(name);
    auto in = filled<T>();
    std::vector<char> buffer;
    caf::binary_serializer sink{nullptr, buffer};
    REQUIRE_FALSE(sink(in));
    REQUIRE_FALSE(buffer.empty());
    buffer.pop_back();
    T out;
    caf::binary_deserializer source{nullptr, buffer};
    CHECK(source(out));
  });
}
