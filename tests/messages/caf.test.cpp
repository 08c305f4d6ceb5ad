#include "tests/messages/message_types.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE("every message survives CAF's serializer unchanged") {
  for (const auto& type : message_types()) {
    INFO(type.name);
    for (const auto& in : {type.plain(), type.filled(fill_mode::distinct)}) {
      auto out = type.plain();
      CHECK(in->through_caf(*out, 0));
      CHECK(in->same_as(*out));
    }
  }
}

TEST_CASE("CAF's deserializer reports a message that was cut short") {
  for (const auto& type : message_types()) {
    INFO(type.name);
    auto in = type.filled(fill_mode::distinct);
    auto out = type.plain();
    REQUIRE(in->through_caf(*out, 0));
    CHECK_FALSE(in->through_caf(*type.plain(), 1));
  }
}
