#include "messages/commands.hpp"
#include "messages/follow.hpp"
#include "tests/support/catch.hpp"

using namespace skep;

TEST_CASE("a message survives msgpack unchanged") {
  pane_exited in{pane_id::make(), 3, -1, 9, 12345};
  auto out = unpack<pane_exited>(pack(in));
  REQUIRE(out.ok());
  CHECK(same(in, *out));
}
TEST_CASE("a follower's frames survive arbitrary cuts") {
  std::string stream;
  pack_follow(stream, follow_kind::data,
              follow_data{pane_id::make(), 1, 7, {std::string("a\0b", 3)}});
  pack_follow(stream, follow_kind::pulse, follow_pulse{2});
  follow_reader r;
  int frames = 0;
  for (char c : stream) {
    r.feed({&c, 1});
    follow_reader::frame f;
    auto got = r.next(f);
    REQUIRE(got.ok());
    frames += *got;
  }
  CHECK(frames == 2);
}
