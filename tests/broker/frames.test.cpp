#include "broker/frames.hpp"
#include "tests/support/catch.hpp"

#include <random>

using namespace skep;
using namespace skep::broker;

namespace {

chunk sample_chunk() {
  chunk c{{"sw_a1"}, {"sb_b2"}, 2, {}, 7, 5, 6};
  pack_event(c.body.data, utc_time{std::chrono::milliseconds{1000}},
             notice{severity::info, "hello", "world"});
  pack_event(c.body.data, utc_time{std::chrono::milliseconds{1001}},
             notice{severity::warning, "x", "y"});
  return c;
}

std::string event_bytes(const chunk& c) {
  std::string out;
  put_event_prefix(out, "st_1", c);
  return out + c.body.data;
}

std::string output_bytes() {
  std::string out;
  put_output_prefix(out, {{"sw_a1"}, {"sb_b2"}, {"pn_c3"}, 1, 300, {}});
  return out + "line\n";
}

std::string hex(std::string_view data) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (unsigned char c : data) {
    out += digits[c >> 4];
    out += digits[c & 15];
  }
  return out;
}

} // namespace

TEST_CASE("an event frame has the bytes that docs/protocol.md shows") {
  chunk c{{"sw_a1"}, {"sb_b2"}, 1, {}, 7, 5, 6};
  pack_event(c.body.data, utc_time{std::chrono::milliseconds{1000}},
             notice{severity::info, "hi", "x"});
  CHECK(hex(event_bytes(c))
        == "652f73775f61312f73625f62322f00"   // e/sw_a1/sb_b2/ NUL
           "9601a473745f3107010506"           // [1, "st_1", 7, 1, 5, 6]
           "9306cd03e883010002a2686903a178"); // [6, 1000, {1: 0, 2: "hi", 3: "x"}]
}

TEST_CASE("an output frame has the bytes that docs/protocol.md shows") {
  CHECK(hex(output_bytes())
        == "6f2f73775f61312f73625f62322f00" // o/sw_a1/sb_b2/ NUL
           "9401a5706e5f633301cd012c"       // [1, "pn_c3", 1, 300]
           "6c696e650a");
}

TEST_CASE("a beacon has the bytes that docs/protocol.md shows") {
  CHECK(hex(encode_head({"st_1", 8}))
        == "6d2f00"
           "9301a473745f3108");
}

TEST_CASE("event frames come back as they were sent") {
  auto c = sample_chunk();
  auto bytes = event_bytes(c);
  auto f = decode_event(bytes);
  REQUIRE(f.ok());
  CHECK(f->swarm == c.swarm);
  CHECK(f->sandbox == c.sandbox);
  CHECK(f->stream == "st_1");
  CHECK(f->first_seq == 7);
  CHECK(f->last_seq() == 8);
  CHECK(f->previous_in_sandbox == 5);
  CHECK(f->previous_in_swarm == 6);
  CHECK(f->body == c.body.data);

  SECTION("events above a sandbox and above a swarm have '-' in the topic") {
    c.sandbox = {};
    CHECK(event_bytes(c).starts_with("e/sw_a1/-/"));
    c.swarm = {};
    bytes = event_bytes(c);
    CHECK(bytes.starts_with("e/-/-/"));
    f = decode_event(bytes);
    REQUIRE(f.ok());
    CHECK(f->swarm.empty());
    CHECK(f->sandbox.empty());
  }
}

TEST_CASE("output frames and beacons come back as they were sent") {
  auto bytes = output_bytes();
  auto f = decode_output(bytes);
  REQUIRE(f.ok());
  CHECK(f->pane.value == "pn_c3");
  CHECK(f->generation == 1);
  CHECK(f->offset == 300);
  CHECK(f->data == "line\n");
  auto beacon = encode_head({"st_1", 1'000'000});
  auto h = decode_head(beacon);
  REQUIRE(h.ok());
  CHECK(h->stream == "st_1");
  CHECK(h->head == 1'000'000);
}

TEST_CASE("subscription prefixes cover exactly their selection") {
  CHECK(topic_prefix('e', {}) == "e/");
  CHECK(topic_prefix('o', {{"sw_a"}, {}}) == "o/sw_a/");
  CHECK(topic_prefix('e', {{"sw_a"}, {"sb_b"}}) == "e/sw_a/sb_b/");
}

TEST_CASE("frames that contradict themselves are refused") {
  auto with = [](auto change) {
    auto c = sample_chunk();
    change(c);
    auto f = decode_event(event_bytes(c));
    return f.ok() ? errc::none : f.err().code;
  };
  CHECK(with([](chunk&) {}) == errc::none);
  CHECK(with([](chunk& c) { c.count = 0; }) == errc::bad_frame);
  CHECK(with([](chunk& c) { c.first_seq = 0; }) == errc::bad_frame);
  CHECK(with([](chunk& c) { c.first_seq = ~std::uint64_t{0}; }) == errc::bad_frame);
  CHECK(with([](chunk& c) { c.previous_in_swarm = 7; }) == errc::bad_frame);
  CHECK(with([](chunk& c) { c.previous_in_sandbox = 99; }) == errc::bad_frame);
  CHECK(with([](chunk& c) { c.swarm.value = "../x"; }) == errc::bad_frame);
  CHECK(with([](chunk& c) { c.sandbox.value = "pn_x"; }) == errc::bad_frame);
  CHECK(with([](chunk& c) { c.count = 4'000'000; }) == errc::bad_frame);
}

TEST_CASE("a header of another version is told apart from garbage, a longer one is understood") {
  std::string topic{"m/"};
  topic += '\0';
  CHECK(decode_head(topic + "\x93\x02\xa1s\x08").err().code == errc::wrong_version);
  CHECK(decode_head(topic + "\xc1").err().code == errc::bad_frame);
  auto longer = decode_head(topic + "\x94\x01\xa1s\x08\xc3");
  REQUIRE(longer.ok());
  CHECK(longer->head == 8);
}

TEST_CASE("no cut and no damage of a frame does more than fail") {
  std::mt19937 random{20260101}; // NOLINT: a fixed seed, so that a failure repeats
  std::vector<std::string> frames = {event_bytes(sample_chunk()), output_bytes(),
                                     encode_head({"st_1", 8})};
  // How much of it was understood: each event, each byte of output, each frame of another kind.
  auto understood = [](std::string_view x) {
    std::size_t n = 0;
    if (auto f = decode_event(x)) {
      event_reader reader{f->body};
      for (std::uint32_t i = 0; i < f->count && !reader.done(); ++i) {
        auto e = reader.next();
        if (!e) break;
        (void)event_to_json(*e);
        ++n;
      }
    }
    if (auto o = decode_output(x)) n += 1 + o->data.size(); // ends where the frame ends
    n += decode_head(x).ok() ? 1 : 0;
    return n;
  };
  for (const auto& frame : frames) {
    const auto whole = understood(frame);
    REQUIRE(whole > 0);
    for (std::size_t n = 0; n < frame.size(); ++n) {
      CAPTURE(n, frame.size(), frame.substr(0, 1));
      CHECK(understood(std::string_view{frame}.substr(0, n)) < whole);
    }
    for (int round = 0; round < 4000; ++round) {
      auto damaged = frame;
      for (auto hits = 1 + random() % 4; hits > 0; --hits)
        damaged[random() % damaged.size()] = static_cast<char>(random());
      CHECK(understood(damaged) <= damaged.size());
    }
  }
  for (int round = 0; round < 4000; ++round) {
    std::string noise(random() % 64, '\0');
    for (auto& c : noise)
      c = static_cast<char>(random());
    CHECK(understood(noise) == 0);
    CHECK(understood("e/sw_a/sb_b/" + std::string(1, '\0') + noise) <= noise.size());
  }
}
