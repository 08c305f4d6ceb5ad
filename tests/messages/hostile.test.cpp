// Decoders under attack: whatever the bytes, a decoder gives a value or an error, allocates no more
// than the size of its input allows, and a value that it gave can be written and read again.
//
// The mutations are drawn from a fixed seed, so that a failure comes back; a test that fails names
// the message, the number of the mutation and the bytes.
#include "tests/messages/allocations.hpp"
#include "tests/messages/message_types.hpp"
#include "tests/support/catch.hpp"

#include <random>

using namespace skep;
using namespace skep::test;

namespace {

using dice = std::mt19937_64;

std::size_t below(dice& r, std::size_t n) {
  return n == 0 ? 0 : r() % n;
}

/// A msgpack header that announces far more than there is.
std::string giant_header(dice& r) {
  static const std::string headers[] = {"\xdd\xff\xff\xff\xff",
                                        "\xdf\xff\xff\xff\xff",
                                        "\xdb\xff\xff\xff\xff",
                                        "\xc6\xff\xff\xff\xff",
                                        "\xc9\xff\xff\xff\xff",
                                        "\xdc\xff\xff",
                                        "\xde\xff\xff",
                                        std::string("\xdd\x00\x10\x00\x00", 5),
                                        std::string("\xdf\x00\x00\x04\x00", 5)};
  return headers[below(r, std::size(headers))];
}

/// One value of some type that a field may not expect.
std::string other_value(dice& r) {
  static const std::string values[] = {"\xc0",
                                       "\xc1",
                                       "\xc2",
                                       "\xc3",
                                       "\x01",
                                       "\xff",
                                       std::string("\xa0", 1),
                                       "\xa3"
                                       "abc",
                                       "\x90",
                                       "\x80",
                                       "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
                                       std::string("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9),
                                       std::string("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", 9),
                                       std::string("\xc4\x02\x00\xff", 4),
                                       "\xd4\x01\x02",
                                       "\x81\x01\x81\x01\x81\x01\x90"};
  return values[below(r, std::size(values))];
}

std::string mutated(std::string x, dice& r) {
  for (auto rounds = 1 + below(r, 3); rounds > 0; --rounds) {
    const auto at = below(r, x.size());
    switch (below(r, 7)) {
    case 0: // one bit
      if (!x.empty()) x[at] = static_cast<char>(x[at] ^ (1 << below(r, 8)));
      break;
    case 1: // one byte
      if (!x.empty()) x[at] = static_cast<char>(r());
      break;
    case 2: // cut
      x.resize(at);
      break;
    case 3: // a piece is missing
      x.erase(at, 1 + below(r, 8));
      break;
    case 4: // a piece comes twice
      x.insert(at, x.substr(below(r, x.size()), 1 + below(r, 16)));
      break;
    case 5:
      x.replace(at, std::min<std::size_t>(1, x.size() - at), other_value(r));
      break;
    case 6:
      x.replace(at, std::min<std::size_t>(1, x.size() - at), giant_header(r));
      break;
    }
  }
  return x;
}

/// What reading `size` bytes of a message may ask for in all: a list of empty records costs most.
std::size_t allowance(std::size_t size) {
  return 64 * 1024 + 4096 * size;
}

std::string hex(std::string_view data) {
  std::string out;
  for (unsigned char c : data) {
    out += "0123456789abcdef"[c >> 4];
    out += "0123456789abcdef"[c & 15];
  }
  return out;
}

void attack_msgpack(const message_type& type, dice& r, int attempts) {
  const auto good = type.filled(fill_mode::distinct)->packed();
  std::size_t accepted = 0;
  for (int i = 0; i < attempts; ++i) {
    const auto bad = mutated(good, r);
    auto x = type.plain();
    const auto before = allocations();
    const auto ok = x->read(bad);
    const auto used = allocations() - before;
    accepted += ok;
    auto again = type.plain();
    if (used > allowance(bad.size())
        || (ok && (!again->read(x->packed()) || !x->same_as(*again)))) {
      INFO(type.name << " mutation " << i << " " << hex(bad));
      CHECK(used <= allowance(bad.size()));
      CHECK((!ok || x->same_as(*again)));
    }
  }
  INFO(type.name);
  CHECK(accepted < static_cast<std::size_t>(attempts));
}

json other_json(dice& r) {
  static const json values[] = {nullptr,
                                true,
                                -1,
                                0,
                                1.5,
                                1e300,
                                18446744073709551615ull,
                                "",
                                "text",
                                "\xff",
                                json::array(),
                                json::object(),
                                json::array({json::array({1})}),
                                json{{"1", 2}}};
  return values[below(r, std::size(values))];
}

/// Replaces, removes or adds something at a random place.
void mutate_json(json& j, dice& r) {
  auto* at = &j;
  while (at->is_structured() && !at->empty() && below(r, 4) != 0) {
    auto i = at->begin();
    std::advance(i, static_cast<std::ptrdiff_t>(below(r, at->size())));
    at = &*i;
  }
  if (at->is_object() && !at->empty() && below(r, 2) == 0)
    at->erase(at->begin());
  else if (at->is_array() && below(r, 2) == 0)
    at->push_back(other_json(r));
  else
    *at = other_json(r);
}

bool same_again(const message_type& type, const any_message& x) {
  auto again = type.plain();
  return again->read_json(x.as_json()) && x.same_as(*again);
}

void attack_json(const message_type& type, dice& r, int attempts) {
  const auto good = type.filled(fill_mode::distinct)->as_json();
  const auto text = to_line(good);
  for (int i = 0; i < attempts; ++i) {
    auto bad = good;
    mutate_json(bad, r);
    auto x = type.plain();
    if (x->read_json(bad) && !same_again(type, *x)) {
      INFO(type.name << " mutation " << i << " " << to_line(bad));
      CHECK(same_again(type, *x));
    }
    const auto bad_text = mutated(text, r);
    auto y = type.plain();
    const auto before = allocations();
    auto parsed = json::parse(bad_text, nullptr, false);
    const auto ok = !parsed.is_discarded() && y->read_json(parsed);
    const auto used = allocations() - before;
    if (used > allowance(bad_text.size()) || (ok && !same_again(type, *y))) {
      INFO(type.name << " mutation " << i << " " << bad_text);
      CHECK(used <= allowance(bad_text.size()));
      CHECK((!ok || same_again(type, *y)));
    }
  }
}

/// `depth` arrays or maps, one in the other.
std::string nested(std::string_view opening, std::size_t depth) {
  std::string out;
  for (std::size_t i = 0; i < depth; ++i)
    out += opening;
  return out;
}

} // namespace

TEST_CASE("no mutation of a packed message breaks a decoder") {
  dice r{20'260'101};
  for (const auto& type : message_types())
    attack_msgpack(type, r, 400);
}

TEST_CASE("no mutation of a JSON document breaks a reader") {
  dice r{20'260'102};
  for (const auto& type : message_types())
    attack_json(type, r, 60);
}

TEST_CASE("no mutation of a chunk's body breaks its reader") {
  dice r{20'260'103};
  std::string good;
#define SKEP_TEST_PACK(number, Type, text, cls)                                                    \
  pack_event(good, utc_time{std::chrono::milliseconds{number}}, filled<Type>());
  SKEP_EVENTS(SKEP_TEST_PACK)
#undef SKEP_TEST_PACK
  for (int i = 0; i < 400; ++i) {
    const auto bad = mutated(good, r);
    event_reader reader{bad};
    std::size_t events = 0;
    while (!reader.done()) {
      auto raw = reader.next();
      if (!raw) break;
      ++events;
      auto line = to_line(event_to_json(*raw));
      CHECK(line.find('\n') == std::string::npos);
    }
    CHECK(events <= bad.size());
  }
}

TEST_CASE("every cut of every packed message is an error") {
  for (const auto& type : message_types()) {
    const auto good = type.filled(fill_mode::distinct)->packed();
    for (std::size_t size = 0; size < good.size(); ++size)
      if (type.plain()->read(std::string_view{good}.substr(0, size))) {
        INFO(type.name << " cut at " << size);
        CHECK(false);
      }
    INFO(type.name);
    CHECK_FALSE(type.plain()->read(good + '\xc0'));
  }
}

TEST_CASE("announced elements cost nothing before they arrive") {
  if (!counts_allocations) return;
  // Each level of nesting announces as many elements as the whole input has bytes.
  const std::size_t size = 1024 * 1024;
  for (const auto& level : {std::string("\xdd\x00\x0f\xff\x00", 5), std::string("\xdc\xff\xff", 3),
                            std::string("\xdf\x00\x07\xff\x00\x01", 6)}) {
    auto bad = nested(level, 30);
    bad.resize(size, '\x01');
    const auto before = allocations();
    std::size_t used = 0;
    auto got = parse_object(bad, used);
    INFO(hex(level));
    CHECK_FALSE(got.ok());
    CHECK(allocations() - before < 64 * size);
  }
  for (const auto& header : {"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff",
                             "\xc6\xff\xff\xff\xff", "\xc9\xff\xff\xff\xff"}) {
    const auto before = allocations();
    std::size_t used = 0;
    INFO(hex(header));
    CHECK_FALSE(parse_object(header, used).ok());
    CHECK(allocations() - before < 64 * 1024);
  }
}

TEST_CASE("a message of as many elements as bytes is read") {
  // The tightest honest input: one byte an element.
  std::string tight("\x81\x07\xdc\x03\xe8", 5);
  tight.append(1000, '\xa0');
  auto got = unpack<swarm_spec>(tight);
  REQUIRE(got.ok());
  CHECK(got->argv.size() == 1000);
}

TEST_CASE("nesting beyond 32 levels is refused, however deep it goes") {
  for (std::size_t depth : {33u, 1000u, 1'000'000u}) {
    for (const auto& level : {std::string("\x91"), std::string("\x81\x01")}) {
      INFO(depth << " times " << hex(level));
      auto bad = nested(level, depth) + '\x01';
      std::size_t used = 0;
      auto got = parse_object(bad, used);
      REQUIRE_FALSE(got.ok());
      CHECK(got.err().code == errc::bad_frame);
    }
  }
  std::size_t used = 0;
  CHECK(parse_object(nested("\x91", 32) + '\x01', used).ok());
}

TEST_CASE("unknown fields are skipped, whatever they hold, and known ones are read") {
  // {1: 5, 99: [{1: nil}], 2000: ext}
  const std::string packed{"\x83\x01\x05\x63\x91\x81\x01\xc0\xcd\x07\xd0\xd4\x01\x02", 14};
  auto got = unpack<follow_pulse>(packed);
  REQUIRE(got.ok());
  CHECK(got->count == 5);
}
