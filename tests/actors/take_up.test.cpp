// A daemon that is back takes up thousands of sandboxes: some at a time, so that their requests are
// answered and do not run out of time in a queue.
#include "actors/health_poller.hpp"
#include "tests/actors/sandbox_world.hpp"

#include <map>

using namespace skep;
using namespace skep::test;
using actors::turnstile;

namespace {

/// A way through for one, and somebody in it.
struct one_at_a_time : sandbox_world {
  turnstile::pass other;

  one_at_a_time() {
    svc->take_ups = std::make_shared<turnstile>(1);
    turnstile::enter(svc->take_ups, [this](turnstile::pass p) { other = std::move(p); });
    recorded(phase::running);
  }
  bool free() {
    auto in = std::make_shared<bool>(false); // it may come later
    turnstile::enter(svc->take_ups, [in](const turnstile::pass&) { *in = true; });
    return *in;
  }
};

} // namespace

TEST_CASE("a turnstile lets so many in at a time, in the order of asking") {
  auto two = std::make_shared<turnstile>(2);
  std::vector<int> order;
  std::map<int, turnstile::pass> inside;
  for (int i = 0; i < 5; ++i)
    turnstile::enter(two, [&, i](turnstile::pass p) {
      order.push_back(i);
      inside[i] = std::move(p);
    });
  CHECK(order == std::vector<int>{0, 1});
  inside.erase(1);
  CHECK(order == std::vector<int>{0, 1, 2});
  inside.erase(0);
  inside.erase(2);
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
  inside.clear();

  turnstile::shared_pass shared; // any of those who share it gives it back
  turnstile::enter(two, [&](turnstile::pass p) { shared = std::make_shared<turnstile::pass>(p); });
  turnstile::enter(two, [&](turnstile::pass p) { inside[6] = std::move(p); });
  bool third = false;
  turnstile::enter(two, [&](const turnstile::pass&) { third = true; });
  CHECK_FALSE(third);
  auto holder = shared;
  shared->reset();
  CHECK(third);

  bool without = false;
  turnstile::enter(nullptr, [&](const turnstile::pass& p) { without = !p; });
  CHECK(without);
}

TEST_CASE("those who are gone when their turn comes give it back, however many they are") {
  auto one = std::make_shared<turnstile>(1);
  turnstile::pass first;
  turnstile::enter(one, [&](turnstile::pass p) { first = std::move(p); });
  int came = 0;
  for (int i = 0; i < 200'000; ++i)
    turnstile::enter(one, [&](const turnstile::pass&) { ++came; });
  CHECK(came == 0);
  first.reset();
  CHECK(came == 200'000);
}

TEST_CASE_METHOD(one_at_a_time, "a sandbox is looked for when there is room, and its lease is "
                                "renewed before the next one has its turn") {
  begin();
  CHECK(api->count(operation::get) == 0);
  CHECK(api->streams.empty());
  api->hold(operation::set_timeout);
  other.reset();
  settle();
  CHECK(api->count(operation::get) == 1);
  CHECK(api->count(operation::set_timeout) == 1);
  CHECK(api->streams.size() == 1); // work goes on beside it
  CHECK_FALSE(free());
  api->release(operation::set_timeout);
  settle();
  CHECK(free());
  CHECK(count("lease_not_renewed") == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(one_at_a_time, "a provider that does not answer holds nobody up for long") {
  other.reset();
  api->hold(operation::get);
  begin();
  CHECK(api->count(operation::get) == 1);
  CHECK_FALSE(free());
  advance(svc->limits.take_up_hold + 100ms);
  CHECK(free());
  api->release(operation::get);
  settle();
  CHECK(api->streams.size() == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(one_at_a_time, "a kill does not wait until a sandbox is looked for") {
  begin();
  stop(stop_mode::kill);
  CHECK(ending() == "killed");
  CHECK(api->count(operation::get) == 0);
  CHECK(api->boxes.empty());
  other.reset();
  settle();
  CHECK(free());
}

TEST_CASE_METHOD(sandbox_world, "sandboxes of a former daemon are not all asked on one tick") {
  std::map<std::uint32_t, int> ticks;
  for (int i = 0; i < 6000; ++i)
    ++ticks[actors::first_question(svc->limits, {"sb_" + std::to_string(i)})];
  REQUIRE(ticks.size() == 6); // health_interval / tick
  CHECK(ticks.rbegin()->first == 5);
  for (auto [tick, n] : ticks)
    CHECK(n > 800);

  recorded(phase::running);
  begin();
  auto waits = actors::first_question(svc->limits, ctx->sandbox);
  auto asked = [&] { return api->count(operation::health) + api->count(operation::usage); };
  for (std::uint32_t i = 0; i < waits; ++i) {
    advance(svc->limits.tick);
    CHECK(asked() == 0);
  }
  advance(svc->limits.tick);
  CHECK(asked() > 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}
