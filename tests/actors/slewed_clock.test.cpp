#include "actors/slewed_clock.hpp"
#include "tests/support/catch.hpp"

#include <random>

using namespace skep;
using namespace skep::actors;
using namespace std::chrono_literals;

namespace {

/// The two clocks of a machine, and the daemon's that goes by them.
struct two_clocks {
  utc_time system{1000h};
  std::chrono::milliseconds boot{5h};
  std::function<void()> between; ///< Runs once, between a look at one clock and the other.
  slewed_clock daemon{[this] {
                        if (auto once = std::exchange(between, nullptr)) once();
                        return system;
                      },
                      [this] { return boot; }};

  /// Time passes, in which the machine may sleep.
  void pass(std::chrono::milliseconds d) {
    system += d;
    boot += d;
  }
};

} // namespace

TEST_CASE_METHOD(two_clocks, "while nobody sets a clock the daemon's time is the system's") {
  for (auto d : {0ms, 1ms, 250ms, 20'000ms, 86'400'000ms}) {
    pass(d);
    CHECK(daemon.now() == system);
  }
  CHECK_FALSE(daemon.take_jump());
}

TEST_CASE_METHOD(two_clocks, "a clock that is set forward is followed by a second in twenty") {
  auto before = daemon.now();
  system += 3h;
  CHECK(daemon.now() == before);
  pass(20s);
  CHECK(daemon.now() == before + 21s);
  pass(200s);
  CHECK(daemon.now() == before + 231s);
  for (int i = 0; i < 60; ++i) {
    pass(1h);
    daemon.now();
  }
  CHECK(daemon.now() == system);
}

TEST_CASE_METHOD(two_clocks, "a clock that is set back is waited for by a second in twenty") {
  auto before = daemon.now();
  system -= 3h;
  CHECK(daemon.now() == before);
  pass(20s);
  CHECK(daemon.now() == before + 19s);
  pass(200s);
  CHECK(daemon.now() == before + 209s);
  for (int i = 0; i < 60; ++i) {
    pass(1h);
    daemon.now();
  }
  CHECK(daemon.now() == system);
}

TEST_CASE_METHOD(two_clocks, "small differences are taken over at once, and time stands still "
                             "where it would go back") {
  auto before = daemon.now();
  system += 900ms;
  CHECK(daemon.now() == before + 900ms);
  system -= 900ms;
  CHECK(daemon.now() == before + 900ms);
  pass(500ms);
  CHECK(daemon.now() == before + 900ms);
  pass(500ms);
  CHECK(daemon.now() == before + 1s);
  CHECK(daemon.now() == system);
  CHECK_FALSE(daemon.take_jump());
}

TEST_CASE_METHOD(two_clocks, "the time that a machine slept is elapsed time, and no jump") {
  auto before = daemon.now();
  pass(8h);
  CHECK(daemon.now() == before + 8h);
  CHECK_FALSE(daemon.take_jump());
}

TEST_CASE_METHOD(two_clocks, "who asks in each millisecond gets no other time than who asks once") {
  auto before = daemon.now();
  system += 1h;
  for (auto t = 0ms; t < 20s; t += 1ms) {
    pass(1ms);
    for (int i = 0; i < 3; ++i)
      daemon.now();
  }
  CHECK(daemon.now() == before + 21s);
}

TEST_CASE_METHOD(two_clocks,
                 "a jump is told once, and jumps that nobody asked about as their sum") {
  system += 4s;
  CHECK_FALSE(daemon.take_jump());
  system += 3h;
  CHECK(daemon.take_jump() == 3h);
  pass(1min);
  CHECK_FALSE(daemon.take_jump());
  system -= 1h;
  daemon.now();
  system -= 30min;
  CHECK(daemon.take_jump() == -90min);
  system += 1h; // wrong, and put right before anybody asks
  daemon.now();
  system -= 1h;
  CHECK_FALSE(daemon.take_jump());
}

TEST_CASE_METHOD(two_clocks, "a thread that slept between its looks at the clocks sees no jump") {
  auto before = daemon.now();
  between = [this] { pass(8h); };
  CHECK(daemon.now() == before + 8h);
  CHECK(daemon.now() == system);
  CHECK_FALSE(daemon.take_jump());
}

TEST_CASE_METHOD(two_clocks, "whatever becomes of the system's clock, the daemon's never goes back "
                             "and is never faster than it may be") {
  std::mt19937_64 random{7};
  auto any = [&](std::int64_t n) {
    return std::chrono::milliseconds{
        static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n))};
  };
  auto last = daemon.now();
  for (int i = 0; i < 20'000; ++i) {
    auto elapsed = any(3) == 0ms ? any(100'000) : any(30);
    pass(elapsed);
    if (any(5) == 0ms) system += any(20'000'000) - 10'000'000ms;
    if (any(5) == 0ms) system += any(3000) - 1500ms;
    auto now = daemon.now();
    auto went = now - last;
    last = now;
    if (went >= 0ms && went <= elapsed + elapsed / slewed_clock::slew + slewed_clock::at_once + 1ms)
      continue;
    CAPTURE(i, elapsed.count(), went.count());
    FAIL("the daemon's clock went by more or less than it may");
  }
}

TEST_CASE("the notice of a jump says how far, in which direction, and what that means") {
  auto forward = notice_of_jump(3h);
  CHECK(forward.level == severity::warning);
  CHECK(forward.code == "clock_jumped");
  CHECK(forward.text.find("set forward by 10800 s") != std::string::npos);
  CHECK(forward.text.find("elapsed time") != std::string::npos);
  CHECK(notice_of_jump(-90min).text.find("set back by 5400 s") != std::string::npos);
}
