// ADMISSION's two judgements about providers and sandboxes that do not do what they should: whose
// place is taken, and when a provider that refuses is asked again.
#include "actors/create_backoff.hpp"
#include "actors/dead_places.hpp"
#include "tests/actors/limit_world.hpp"
#include "tests/actors/nearly_full.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// Health checks and questions to the provider get no answer while `down` says so.
struct cut_network {
  bool health = false;
  bool provider = false;
  void at(fake_api& api) {
    api.turn_down = [this](operation op, const std::string&) -> error {
      if (health && op == operation::health) return make_error(errc::network);
      if (provider && op == operation::get) return make_error(errc::network);
      return {};
    };
  }
};

storage::placed_sandbox placed(const char* id, phase state = phase::running) {
  storage::placed_sandbox out;
  out.sandbox = {id};
  out.provider = "cloud";
  out.repo = "/repo";
  out.state = state;
  return out;
}

} // namespace

TEST_CASE_METHOD(limit_world, "at the cap, unhealthy sandboxes are killed and make room") {
  rule().max_active = 2;
  begin();
  spec->sandboxes = 2;
  auto id = run();
  REQUIRE(states(id) == strings{"running", "running"});
  for (int i = 0; i < 8; ++i)
    api->fail(operation::health, make_error(errc::network));
  advance(110s); // three failures each, and one more while the provider has them
  CHECK(count("unhealthy") == 6);
  CHECK(api->boxes.size() == 2); // nobody needs their places
  spec->no_queue = true;         // and nobody is refused while they are there
  auto next = run();
  advance(10s);
  CHECK(states(next) == strings{"running", "running"});
  CHECK(states(id) == strings{"closed failed", "closed failed"});
  CHECK(sandboxes(id)[0].error_code == "gone");
  CHECK(api->boxes.size() == 2);
  finish();
}

TEST_CASE_METHOD(limit_world, "a network that is down for minutes ends no sandbox, whoever waits "
                              "for a place") {
  rule().max_active = 2;
  begin();
  spec->sandboxes = 2;
  auto two = run();
  spec->sandboxes = 1;
  auto waits = run();
  cut_network net;
  net.at(*api);
  net.health = net.provider = true;
  advance(4min);
  CHECK(count("unhealthy") == 6);
  CHECK(states(waits) == strings{"queued"});
  // It comes back after a health check that still failed, before the provider is asked.
  net.provider = false;
  auto asked = api->count(operation::get);
  for (auto waited = 0ms; waited < 60s && api->count(operation::get) == asked; waited += 250ms)
    advance(250ms);
  REQUIRE(api->count(operation::get) > asked);
  advance(5s);
  net.health = false;
  advance(60s);
  CHECK(count("healthy") == 2);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(count("sandbox.failing") == 0);
  CHECK(states(two) == strings{"running", "running"});
  for (const auto& box : sandboxes(two))
    agents_end(box);
  advance(5s);
  agents_end(only_sandbox(waits));
  CHECK(ending(two) == "closed completed");
  CHECK(ending(waits) == "closed completed");
  finish();
}

TEST_CASE_METHOD(limit_world, "for one that waits exactly one sandbox that does not answer is "
                              "ended, and nobody for nobody") {
  rule().max_active = 2;
  begin();
  spec->sandboxes = 2;
  auto two = run();
  REQUIRE(states(two) == strings{"running", "running"});
  cut_network net; // of the sandboxes alone
  net.at(*api);
  net.health = true;
  advance(3min);
  CHECK(count("sandbox.kill_intended") == 0); // nobody waits
  api->hold(operation::create);               // what is created is asked for its health
  spec->sandboxes = 1;
  auto next = run();
  advance(90s);
  CHECK(api->count(operation::create) == 3);
  CHECK(count("sandbox.kill_intended") == 1);
  auto after = states(two);
  CHECK(std::count(after.begin(), after.end(), "running") == 1);
  CHECK(std::count(after.begin(), after.end(), "closed failed") == 1);
  net.health = false;
  api->release(operation::create);
  advance(40s);
  CHECK(states(next) == strings{"running"});
  CHECK(count("sandbox.kill_intended") == 1);
  finish();
}

TEST_CASE("places of the dead: those on their way first, then of the ailing the one that has been "
          "so for longest, and each for one") {
  storage::spend_state s;
  for (auto id : {"sb_1", "sb_2", "sb_3", "sb_4", "sb_5"})
    s.placed.push_back(placed(id));
  s.placed.push_back(placed("sb_6", phase::closed)); // its kill is not confirmed
  s.placed.push_back(placed("sb_7", phase::collecting));
  s.placed[3].kill_intended = true;
  strings ended;
  ailing_board board;
  for (auto id : {"sb_3", "sb_7", "sb_1", "sb_3"}) // sb_3 has been there for longer than sb_1
    board.put({id}, [&ended, id] { ended.emplace_back(id); });
  hold h;
  h.rule = "max_active";
  dead_places dead{s, board.all(), {{"sb_5"}}};
  for (int i = 0; i < 3; ++i)
    CHECK(dead.claim(h, "cloud", "/repo"));
  CHECK(dead.claimed() == std::set<sandbox_id>{{"sb_4"}, {"sb_5"}, {"sb_6"}});
  CHECK(dead.to_end().empty());
  CHECK(dead.reaper_is_needed());
  CHECK_FALSE(dead.claim(h, "other", "/repo"));
  CHECK(dead.claim(h, "cloud", "/repo"));
  CHECK(dead.to_end() == std::vector<sandbox_id>{{"sb_3"}});
  CHECK(dead.claim(h, "cloud", "/repo"));
  CHECK_FALSE(dead.claim(h, "cloud", "/repo")); // what is being collected ends by itself
  CHECK(dead.to_end() == std::vector<sandbox_id>{{"sb_3"}, {"sb_1"}});
  CHECK(ended.empty());
  dead.end({"sb_1"});
  CHECK(ended == strings{"sb_1"});
  h.rule = "creates_per_hour"; // which counts no places
  CHECK_FALSE(dead_places(s, board.all(), {}).claim(h, "cloud", "/repo"));
}

TEST_CASE(
    "places of the dead: a kept sandbox whose lease is over is asked for before an ailing one "
    "is ended") {
  storage::spend_state s;
  for (auto id : {"sb_1", "sb_2", "sb_3"})
    s.placed.push_back(placed(id));
  s.placed[1].state = s.placed[2].state = phase::closed;
  s.placed[1].kept = s.placed[2].kept = true;
  s.placed[2].lease_over = true;
  ailing_board board;
  board.put({"sb_1"}, [] {});
  hold h;
  h.rule = "max_active";
  dead_places dead{s, board.all(), {}};
  CHECK(dead.claim(h, "cloud", "/repo"));
  CHECK(dead.claimed() == std::set<sandbox_id>{{"sb_3"}});
  CHECK(dead.reaper_is_needed());
  dead.end({"sb_3"}); // which is no one's to end
  CHECK(dead.claim(h, "cloud", "/repo"));
  CHECK(dead.claimed() == std::set<sandbox_id>{{"sb_1"}, {"sb_3"}});
  CHECK_FALSE(dead.claim(h, "cloud", "/repo"));  // the lease of the other one runs
  dead_places later{s, board.all(), {{"sb_3"}}}; // asked for a moment ago
  CHECK(later.claim(h, "cloud", "/repo"));
  CHECK_FALSE(later.reaper_is_needed());
}

TEST_CASE_METHOD(limit_world, "a provider that refuses for its quota is waited for") {
  begin();
  auto full = make_error(errc::quota);
  full.retry_after_ms = 20'000;
  api->fail(operation::create, full);
  auto id = run();
  advance(2s);
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(all<create_failed>().size() == 1);
  CHECK(all<sandbox_waits>().at(0).rule == "provider");
  CHECK(all<sandbox_waits>().at(0).wait_ms > 15'000);
  advance(17s);
  CHECK(api->count(operation::create) == 1);
  advance(5s);
  CHECK(api->count(operation::create) == 2);
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(limit_world, "a provider without room for a create is waited for") {
  begin();
  api->fail(operation::create, make_error(errc::capacity, "no place for it right now"));
  auto id = run();
  advance(2s);
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(states(id) == strings{"creating"});
  REQUIRE(all<create_failed>().size() == 1);
  CHECK(all<create_failed>().at(0).why.code == errc::capacity);
  CHECK(all<sandbox_waits>().at(0).rule == "provider");
  advance(25s);
  CHECK(api->count(operation::create) == 1);
  advance(5s); // 30 s after the refusal
  CHECK(api->count(operation::create) == 2);
  CHECK(states(id) == strings{"running"});
  CHECK(api->boxes.size() == 1);
  CHECK(all<create_failed>().size() == 1);
  CHECK(all<sandbox_failing>().empty());
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(limit_world, "a run that does not queue fails where its provider has no room") {
  begin();
  spec->no_queue = true;
  api->fail(operation::create, make_error(errc::capacity));
  auto id = run();
  advance(2s);
  CHECK(ending(id) == "closed failed");
  CHECK(only_sandbox(id).error_code == "capacity");
  CHECK(only_sandbox(id).error_step == "create");
  advance(60s);
  CHECK(api->count(operation::create) == 1);
  finish();
}

TEST_CASE_METHOD(limit_world, "a provider that is at its quota for long uses up no window: all "
                              "begin when it has room again") {
  rules.providers["cloud"] = metered_rules("providers.cloud");
  begin();
  bool full = true;
  api->turn_down = [&](operation op, const std::string&) -> error {
    return full && op == operation::create ? make_error(errc::quota) : error{};
  };
  spec->sandboxes = 5;
  auto id = run();
  auto at_first = api->count(operation::create);
  REQUIRE(at_first >= 1);
  CHECK(at_first <= 5);
  advance(25s);
  CHECK(api->count(operation::create) == at_first);
  advance(10s); // one asks for all
  CHECK(api->count(operation::create) == at_first + 1);
  advance(565s); // at 30, 90, 210 and 450 s
  CHECK(api->count(operation::create) == at_first + 4);
  CHECK(all<create_failed>().size() == at_first + 4);
  full = false;
  advance(6min);
  CHECK(states(id) == strings(5, "running"));
  CHECK(api->count(operation::create) == at_first + 9);
  auto shown = call(budget_request{});
  REQUIRE(shown);
  for (const auto& line : shown->limits)
    if (line.rule == "creates_per_hour") CHECK(line.count == 5);
  finish();
}

TEST_CASE_METHOD(limit_world, "a place of ours that ends at a provider that refuses lets the next "
                              "one ask at once") {
  begin();
  auto one = run();
  bool full = true;
  api->turn_down = [&](operation op, const std::string&) -> error {
    return full && op == operation::create ? make_error(errc::quota) : error{};
  };
  auto two = run();
  advance(100s); // at 30 and 90 s; the next would be at 210
  CHECK(api->count(operation::create) == 4);
  full = false;
  agents_end(only_sandbox(one));
  advance(5s);
  CHECK(states(two) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(limit_world, "sandboxes whose turn comes on a nearly full disk wait for room, and "
                              "hold no place meanwhile") {
  rule().max_active = 1;
  begin();
  spec->sandboxes = 3;
  auto id = run();
  advance(2s);
  REQUIRE(states(id) == strings{"running", "queued", "queued"});
  log->refuse = nearly_full;
  agents_end(sandboxes(id)[0]);
  advance(10min);
  CHECK(states(id) == strings{"closed completed", "creating", "creating"}); // both had their turn
  CHECK(api->count(operation::create) == 1);
  log->refuse = nullptr;
  advance(svc->limits.disk_wait + 2s);
  auto now = states(id);
  CHECK(std::count(now.begin(), now.end(), "running") == 1);
  CHECK(std::count(now.begin(), now.end(), "creating") == 1);
  CHECK(api->count(operation::create) == 2);
  for (int i = 0; i < 2; ++i) {
    auto rows = sandboxes(id);
    for (const auto& s : rows)
      if (s.state == phase::running) agents_end(s);
    advance(2s);
  }
  CHECK(states(id) == strings(3, "closed completed"));
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(limit_world, "a run that does not queue waits in line once a nearly full disk has "
                              "cost it its place") {
  rule().max_active = 1;
  begin();
  auto first = run();
  agents_end(only_sandbox(first));
  REQUIRE(ending(first) == "closed completed");
  spec->no_queue = true;
  log->refuse = [](const chunk& c) {
    return c.sandbox.empty() ? error{} : nearly_full(c); // it filled up after the run began
  };
  auto id = run();
  REQUIRE(states(id) == strings{"creating"});
  spec->no_queue = false;
  log->refuse = nullptr;
  auto other = run();
  REQUIRE(states(other) == strings{"running"}); // the place was free
  advance(svc->limits.disk_wait + 2s);
  CHECK(states(id) == strings{"creating"});
  agents_end(only_sandbox(other));
  advance(2s);
  CHECK(states(id) == strings{"running"});
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE("a provider that refuses is asked by one at a time after growing waits, never sooner "
          "than it named") {
  policies p;
  create_backoff b{p};
  const sandbox_id one{"sb_1"}, two{"sb_2"};
  auto refuse = [&](const sandbox_id& box, std::chrono::milliseconds named,
                    std::chrono::milliseconds now) {
    b.refused("cloud", box, named, now);
    return b.left("cloud", now);
  };
  CHECK(b.left("cloud", 0s) == 0s);
  CHECK(refuse(one, 0s, 10s) == 30s);
  CHECK(b.left("other", 10s) == 0s);
  CHECK(refuse(two, 0s, 11s) == 29s); // under way before
  CHECK(refuse(two, 40s, 11s) == 40s);
  CHECK(b.left("cloud", 51s) == 0s);
  b.asks("cloud", one, 51s);
  CHECK(b.left("cloud", 51s) == 60s); // the longest that its answer may take
  CHECK(refuse(one, 0s, 52s) == 60s);
  std::chrono::milliseconds now = 60min;
  for (auto wait : {120s, 240s, 480s, 600s, 600s}) {
    b.asks("cloud", two, now);
    CHECK(refuse(two, 0s, now) == wait);
    now += wait;
  }
  b.asks("cloud", two, now);
  CHECK(refuse(two, 2h, now) == 2h);
  now += 2h;

  storage::spend_state s;
  s.placed.push_back(placed("sb_0"));
  b.look(s, now);
  CHECK(refuse(one, 0s, now) == 0s); // nothing was granted and none has ended: not as the first
  b.asks("cloud", two, now);
  s.placed.push_back(placed("sb_2", phase::creating));
  s.placed.back().unresolved = true;
  b.look(s, now);
  CHECK(b.left("cloud", now) > 0s);
  s.placed.back().unresolved = false; // granted
  b.look(s, now);
  CHECK(b.left("cloud", now) == 0s);
  CHECK(refuse(one, 0s, now) == 30s); // from the beginning
  b.look(s, now);
  s.placed.erase(s.placed.begin()); // one is gone
  b.look(s, now);
  CHECK(b.left("cloud", now) == 0s);
}
