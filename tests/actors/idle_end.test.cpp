// When skepd ends by itself.
#include "tools/skepd/idle_end.hpp"

#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::tools;
using namespace std::chrono_literals;

namespace {

constexpr utc_time idle_noon{std::chrono::hours{24 * 20000 + 12}};

storage::spend_state with_one(utc_time charged_from, utc_time lease_end) {
  storage::placed_sandbox x;
  x.charged_from = charged_from;
  x.lease_end = lease_end;
  storage::spend_state out;
  out.placed.push_back(x);
  return out;
}

} // namespace

TEST_CASE("an idle daemon ends after its time, which runs and requests begin anew") {
  const idle_end::clock::time_point start{1h};
  int looks = 0;
  idle_end idle{15min, [&looks] { return ++looks < 0; }, start};
  CHECK_FALSE(idle.is_due(start + 14min, true, 0));
  CHECK_FALSE(idle.is_due(start + 28min, false, 0));
  CHECK_FALSE(idle.is_due(start + 28min + 59s, false, 1)); // somebody asked
  CHECK_FALSE(idle.is_due(start + 43min, false, 1));
  CHECK(looks == 0); // the tables are read only once the time is over
  CHECK(idle.is_due(start + 43min + 59s, false, 1));
  CHECK(looks == 1);
  idle_end never{0min, [] { return false; }, start};
  CHECK_FALSE(never.is_due(start + 1000h, false, 0));
}

TEST_CASE("an idle daemon stays while something holds it, looks once a minute, and then ends") {
  const idle_end::clock::time_point start{1h};
  bool held = true;
  int looks = 0;
  idle_end idle{15min,
                [&] {
                  ++looks;
                  return held;
                },
                start};
  for (auto t = 0s; t < 25min; t += 1s)
    CHECK_FALSE(idle.is_due(start + t, false, 0));
  CHECK(looks == 10); // at 15, 16, ... 24 min
  held = false;
  CHECK(idle.is_due(start + 25min, false, 0));
  CHECK(looks == 11);
}

TEST_CASE("a sandbox that may cost unseen holds the daemon, until a day after its lease or its "
          "create") {
  CHECK_FALSE(holds_daemon({}, idle_noon));
  // Kept, with a lease that runs, or that is over and nobody has seen what became of it.
  CHECK(holds_daemon(with_one(idle_noon - 1h, idle_noon + 23h), idle_noon));
  CHECK(holds_daemon(with_one(idle_noon - 25h, idle_noon - 1h), idle_noon));
  CHECK_FALSE(holds_daemon(with_one(idle_noon - 50h, idle_noon - longest_unseen), idle_noon));
  // Closed, and its kill is not confirmed, or its create has no answer: no lease is on record.
  CHECK(holds_daemon(with_one(idle_noon - 16min, {}), idle_noon));
  CHECK_FALSE(holds_daemon(with_one(idle_noon - longest_unseen, {}), idle_noon));
  auto two = with_one(idle_noon - 50h, {});
  two.placed.push_back(with_one(idle_noon - 1min, {}).placed[0]);
  CHECK(holds_daemon(two, idle_noon));
}
