// When the REAPER is woken: after what it is to see is on disk, and not before.
#include "tests/actors/held_journal.hpp"
#include "tests/actors/limit_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct kept_world : limit_world {
  kept_world() {
    rule().usd_per_hour = 36; // a cent a second
    spec->budget_usd = 3;
    spec->keep = true;
  }
};

} // namespace

TEST_CASE_METHOD(kept_world, "the reaper hears of a kept sandbox's end when its kill intent is "
                             "on disk, however long that takes") {
  begin();
  auto id = run();
  advance(50s);
  agents_end(only_sandbox(id));
  REQUIRE(ending(id) == "closed completed");
  advance(185s); // 5 s before its budget winds it down
  REQUIRE(api->boxes.size() == 1);
  reaper_probe reaper;
  auto real = put_reaper(reaper);
  held_journal held;
  held.real = svc->handles->journal();
  auto holder = v.sys.spawn(holding_journal, &held);
  svc->handles->put_journal(holder);
  advance(12s);
  CHECK(held.chunks.size() == 1); // the intent, asked for once
  CHECK(reaper.looks.empty());
  svc->handles->put_journal(held.real);
  caf::anon_send(holder, flush_a::value);
  settle();
  REQUIRE(reaper.looks.size() == 1);
  CHECK(reaper.looks[0] == "an intent is on disk");
  holder = nullptr;
  held = {};
  svc->handles->put("reaper", real);
  svc->handles->wake_reaper();
  settle();
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(kept_world, "a kill intent that cannot be stored is tried again, and wakes "
                             "nobody before") {
  begin();
  auto id = run();
  advance(50s);
  agents_end(only_sandbox(id));
  advance(185s);
  reaper_probe reaper;
  auto real = put_reaper(reaper);
  log->refuse = [](const chunk& c) {
    return c.sandbox.empty() ? error{} : make_error(errc::disk_full);
  };
  advance(12s);
  CHECK(reaper.looks.empty());
  log->refuse = nullptr;
  advance(2s);
  CHECK(reaper.looks == strings{"an intent is on disk"});
  svc->handles->put("reaper", real);
  finish();
}

TEST_CASE_METHOD(tree_world, "the end of a killed swarm wakes the reaper, once its end is on disk, "
                             "and creates without an answer are looked for at once") {
  spec->sandboxes = 2;
  start();
  api->hold(operation::create);
  auto id = run();
  REQUIRE(states(id) == strings(2, "creating"));
  reaper_probe reaper;
  auto real = put_reaper(reaper);
  REQUIRE(call(stop_request{id, true}));
  settle();
  CHECK(swarm(id).state == swarm_phase::closed);
  REQUIRE(reaper.looks.size() == 1);
  CHECK(reaper.looks[0] == "a create has no answer"); // it is the REAPER's from now on
  // A swarm that ends by itself has waited for its creates.
  api->release(operation::create);
  auto other = run();
  for (const auto& s : sandboxes(other))
    agents_end(s);
  CHECK(ending(other) == "closed completed");
  CHECK(reaper.looks.size() == 1);
  svc->handles->put("reaper", real);
  // Told, the real one finds what came of them without waiting for its own time.
  REQUIRE(api->boxes.size() == 2);
  svc->handles->wake_reaper();
  settle();
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(tree_world, "a kill of a run with twenty kept sandboxes ends them at once, and "
                             "asks their provider for no list") {
  spec->sandboxes = 20;
  spec->keep = true;
  start();
  auto id = run();
  advance(30s);
  REQUIRE(states(id) == strings(20, "running"));
  auto boxes = sandboxes(id);
  for (const auto& s : boxes)
    agents_end(s);
  advance(5s);
  REQUIRE(ending(id) == "closed completed");
  REQUIRE(api->boxes.size() == 20);
  const auto kills = api->count(operation::kill), lists = api->count(operation::list);
  REQUIRE(call(stop_request{id, true}));
  settle();
  CHECK(api->boxes.empty());
  CHECK(api->count(operation::kill) == kills + 20);
  CHECK(api->count(operation::list) == lists); // no time has passed
  finish();
}
