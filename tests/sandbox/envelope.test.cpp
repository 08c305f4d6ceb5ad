#include "sandbox/envelope.hpp"

#include "tests/support/catch.hpp"

#include <random>

using namespace skep::sandbox;

namespace {

std::string end_envelope(std::string_view payload) {
  auto out = make_envelope(payload);
  out[0] = 2;
  return out;
}

} // namespace

TEST_CASE("the envelope is the one of the protocol, byte by byte") {
  CHECK(make_envelope("{}") == std::string("\0\0\0\0\x02{}", 7));
  CHECK(make_envelope(std::string(0x10203, 'x')).substr(0, 5)
        == std::string("\0\0\x01\x02\x03", 5));
}

TEST_CASE("envelopes come out whole wherever the bytes are cut") {
  const std::string wire = make_envelope("{\"a\":1}") + make_envelope("") + end_envelope("{}");
  for (std::size_t first = 0; first <= wire.size(); ++first)
    for (std::size_t second = first; second <= wire.size(); ++second) {
      envelope_reader reader;
      std::string seen;
      for (auto part :
           {wire.substr(0, first), wire.substr(first, second - first), wire.substr(second)}) {
        reader.feed(part);
        while (auto x = reader.next())
          (seen += x->payload) += x->end_of_stream ? "$" : "|";
      }
      REQUIRE(seen == "{\"a\":1}||{}$");
      REQUIRE(reader.ended());
      REQUIRE_FALSE(reader.bad());
      REQUIRE(reader.pending_bytes() == 0);
    }
}

TEST_CASE("compressed, unknown flags, too long and bytes behind the end are bad for good") {
  auto bad = [](std::string bytes, std::size_t cap = 100) {
    envelope_reader reader{cap};
    reader.feed(bytes);
    while (reader.next()) {
    }
    reader.feed(make_envelope("{}"));
    return reader.bad() && !reader.next();
  };
  CHECK(bad(std::string("\x01\0\0\0\0", 5)));
  CHECK(bad("HTTP"));
  CHECK(bad(std::string("\0\0\0\0\x65", 5)));
  CHECK(bad(std::string("\0\xff\xff\xff\xff", 5)));
  CHECK(bad(end_envelope("{}") + "x"));
  CHECK(bad(end_envelope("{}"))); // the one fed later
}

TEST_CASE("random bytes never break the reader, and it never holds more than a cap and a piece") {
  std::mt19937 random{42};
  for (int round = 0; round < 3000; ++round) {
    envelope_reader reader{64};
    for (int piece = 0; piece < 6; ++piece) {
      std::string bytes(random() % 40, '\0');
      for (auto& c : bytes)
        c = static_cast<char>(random() % 4 == 0 ? random() : random() % 3);
      reader.feed(bytes);
      while (auto x = reader.next())
        REQUIRE(x->payload.size() <= 64);
      REQUIRE(reader.pending_bytes() <= 64 + 5 + 40);
    }
  }
}
