// Sandboxes that their provider has although the tables say they are gone, or never heard of them:
// the whole tree, and the REAPER's view of the tables as skepd has it.
#include "actors/health.hpp"
#include "tests/actors/tree_fixture.hpp"
#include "tools/skepd/tables.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct orphan_world : tree_world {
  strings keyed;            ///< Configured providers with a key.
  bool local_holds = false; ///< The local host's directory names a sandbox.

  orphan_world() {
    auto reads = std::make_shared<tools::state_reader>(database());
    reaper_reads = [this, reads] {
      return tools::reaper_tables_of(reads,
                                     {[](const std::string&) { return true; },
                                      [this] { return keyed; }, [this] { return local_holds; }},
                                     svc->wall_now);
    };
  }
  std::size_t lists() const { return api->count(operation::list); }
  void unheard_of(const std::string& id) {
    auto& info = api->boxes[id].info;
    info.remote_id = id;
    info.metadata = {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}};
  }
};

} // namespace

TEST_CASE_METHOD(orphan_world, "a sandbox that its provider did not know in passing is ended when "
                               "the list still shows it, though no other lives there") {
  spec->provider = "cloud";
  start();
  auto id = run();
  REQUIRE(api->boxes.size() == 1);
  stop();
  svc->limits.loss_looks = 1;
  api->fail(operation::get, make_error(errc::not_found));
  start();
  REQUIRE(states(id) == strings{"closed lost"});
  REQUIRE(count("sandbox.kill_intended") == 0);
  REQUIRE(tables->living_sandboxes().value().empty());
  advance(40s); // seen first at 15 s
  CHECK(api->boxes.size() == 1);
  advance(10s);
  CHECK(api->boxes.empty());
  CHECK(count("orphan_kill_intended") == 1);
  // From then on a list a minute, as long as a lease may last.
  advance(1min);
  auto before = lists();
  advance(5min);
  CHECK(lists() == before + 5);
  wall_jump = 27h;
  before = lists();
  advance(5min);
  CHECK(lists() == before);
  finish();
}

TEST_CASE_METHOD(orphan_world, "sandboxes that a restored backup has not heard of are ended after "
                               "the start, at every provider with a key") {
  keyed = {"cloud"};
  unheard_of("i9");
  SECTION("that answers") {
    start();
    advance(50s);
  }
  SECTION("once it answers") {
    api->fail(operation::list, make_error(errc::network));
    start();
    advance(60s);
    CHECK(api->boxes.size() == 1);
    advance(50s);
  }
  CHECK(api->boxes.empty());
  advance(1min);
  auto before = lists();
  advance(5min);
  CHECK(lists() == before); // nothing is known to be there
  finish();
}

TEST_CASE_METHOD(orphan_world, "a closed run whose kill is not confirmed is told by health, as "
                               "degraded, until it is confirmed") {
  const auto refusals = svc->limits.kill_attempts + 2; // the last two are the reaper's
  for (std::size_t i = 0; i < refusals; ++i)
    api->fail(operation::kill, make_error(errc::auth));
  start();
  auto id = run();
  auto box = only_sandbox(id);
  agents_end(box);
  advance(12s);
  REQUIRE(ending(id) == "closed completed");
  CHECK(count("kill_unconfirmed") == 1);
  auto told = call(health_request{});
  REQUIRE(told);
  CHECK(told->state == worse(told->daemon.state, health_state::degraded));
  CHECK(told->sandboxes.empty());
  REQUIRE(told->swarms.size() == 1);
  CHECK(told->swarms[0].swarm == id);
  CHECK(told->swarms[0].state == health_state::degraded);
  CHECK(told->swarms[0].reasons
        == strings{box.sandbox.value + ": its provider has not confirmed that it is gone"});
  advance(1min);
  REQUIRE(count("sandbox.kill_confirmed") == 1);
  told = call(health_request{});
  REQUIRE(told);
  CHECK(told->swarms.empty());
  CHECK(told->state == told->daemon.state);
  finish();
}

TEST_CASE_METHOD(orphan_world,
                 "the local host is not started for a look while it can hold nothing") {
  start();
  auto id = run();
  agents_end(only_sandbox(id));
  REQUIRE(ending(id) == "closed completed");
  advance(1min);
  auto before = lists();
  advance(5min);
  CHECK(lists() == before);
  local_holds = true;
  unheard_of("left behind");
  advance(2min);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(orphan_world,
                 "kept sandboxes whose leases are over hold no place and cost nothing "
                 "more, and a run that does not queue gets in") {
  limit_table rules;
  rules.providers["cloud"].section = "providers.cloud";
  rules.providers["cloud"].usd_per_hour = 1;
  rules.providers["cloud"].max_active = 2;
  svc->rules = std::make_shared<const limit_table>(rules);
  spec->provider = "cloud";
  spec->keep = true;
  spec->sandboxes = 2;
  spec->limit_ms = 600'000;
  start();
  auto id = run();
  auto boxes = sandboxes(id);
  for (const auto& s : boxes)
    agents_end(s);
  REQUIRE(ending(id) == "closed completed");
  REQUIRE(tables->spend(svc->wall_now())->placed.size() == 2);
  auto lease = sandboxes(id)[0].lease_end_at - svc->wall_now();
  REQUIRE(lease > 10min);
  spec->no_queue = true;
  spec->keep = false;
  spec->sandboxes = 1;
  CHECK(call(run_request{*spec}).err().code == errc::quota);
  SECTION("seen by the REAPER itself") {
    advance(lease - 5s);
    CHECK(tables->spend(svc->wall_now())->placed.size() == 2);
    for (const auto& s : boxes)
      api->lose(s.remote_id); // as their provider does
    advance(21s);
  }
  SECTION("at once, where a place is wanted after a time without a daemon") {
    stop();
    for (const auto& s : boxes)
      api->lose(s.remote_id);
    wall_jump += boxes[0].lease_end_at + 1min - svc->wall_now(); // the stop took its time, too
    start();
    auto next = run();
    advance(2s);
    CHECK(states(next) == strings{"running"});
    CHECK(count("sandbox.kill_confirmed") == 2);
    agents_end(only_sandbox(next));
    advance(2s);
  }
  CHECK(tables->spend(svc->wall_now())->placed.empty());
  auto seen = sandboxes(id);
  for (const auto& s : seen) {
    CHECK_FALSE(s.kept);
    CHECK(s.charged_until >= s.lease_end_at);
    CHECK(s.charged_until <= s.lease_end_at + 65s);
  }
  CHECK(api->count(operation::kill) <= 1); // of the run that got in
  finish();
}
