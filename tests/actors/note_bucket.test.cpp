#include "actors/note_bucket.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::actors;
using namespace std::chrono_literals;

namespace {
utc_time at(std::chrono::milliseconds t) {
  return utc_time{t};
}
} // namespace

TEST_CASE("as many blocks as the burst pass at once, then so many a second") {
  note_bucket b{{20, 10}};
  int passed = 0;
  for (int i = 0; i < 1000; ++i)
    passed += b.take(0ms, at(5ms));
  CHECK(passed == 20);
  passed = 0;
  for (auto t = 1ms; t <= 10s; ++t)
    passed += b.take(t, at(t));
  CHECK(passed >= 95);
  CHECK(passed <= 101);
}

TEST_CASE("what was left out is counted with its beginning, and given once") {
  note_bucket b{{2, 1}};
  CHECK(b.left_out().count == 0);
  CHECK(b.take(0ms, at(1ms)));
  CHECK(b.take(0ms, at(2ms)));
  CHECK_FALSE(b.take(0ms, at(3ms)));
  CHECK_FALSE(b.take(1ms, at(4ms)));
  auto gap = b.left_out();
  CHECK(gap.count == 2);
  CHECK(gap.since == at(3ms));
  CHECK(b.left_out().count == 0);
}

TEST_CASE("gaps of a steady flood are few: a tenth of the burst passes between two") {
  note_bucket b{{200, 10}};
  int gaps = 0, passed = 0;
  bool in_gap = false;
  for (auto t = 0ms; t <= 100s; t += 1ms) { // a thousand blocks a second
    auto ok = b.take(t, at(t));
    passed += ok;
    if (ok && in_gap) {
      ++gaps;
      CHECK(b.left_out().count > 0);
    }
    in_gap = !ok;
  }
  CHECK(passed <= 200 + 10 * 100 + 1);
  CHECK(passed >= 1100);
  CHECK(gaps <= 60);
}

TEST_CASE("a clock that goes back gives no tokens and breaks nothing") {
  note_bucket b{{1, 1}};
  CHECK(b.take(10s, at(0ms)));
  CHECK_FALSE(b.take(1s, at(0ms)));
  CHECK_FALSE(b.take(10s, at(0ms)));
  CHECK(b.take(11s, at(0ms)));
}
