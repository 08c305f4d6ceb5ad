// Scripts of the SANDBOX: creates, and what becomes of one without an answer.
#include "tests/actors/late_answer.hpp"
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE_METHOD(sandbox_world, "a create that is refused fails at once and kills nothing") {
  api->fail(operation::create, make_error(errc::auth));
  begin();
  CHECK(ending() == "failed auth@create");
  CHECK(all<create_failed>().at(0).why.code == errc::auth);
  CHECK(api->count(operation::create) == 1);
  CHECK(api->count(operation::kill) == 0);
  CHECK(count("sandbox.kill_intended") == 0);
}

TEST_CASE_METHOD(sandbox_world, "a create without an answer is found by its label, not repeated") {
  api->fail(operation::create, make_error(errc::timed_out), fake_api::after_effect);
  begin();
  CHECK(api->count(operation::create) == 1);
  CHECK(all<sandbox_created>().at(0).remote_id == "i100000");
  CHECK(count("sandbox.create_failed") == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world,
                 "an unresolved create of the last daemon is looked for, not repeated") {
  start.fresh = false;
  start.record.state = phase::creating;
  start.record.intent = "int1";
  start.record.unresolved = true;
  auto& info = api->boxes["i7"].info;
  info.remote_id = "i7";
  info.address = {"i7", "token", ""};
  info.metadata = {{"skep.install", "in_1"}, {"skep.intent", "int1"}};
  begin();
  CHECK(api->count(operation::create) == 0);
  CHECK(all<sandbox_created>().at(0).remote_id == "i7");
  exit("pn_0");
  CHECK(ending() == "completed");
}

namespace {

struct create_world : sandbox_world {
  void fail_lists(int n) {
    for (int i = 0; i < n; ++i)
      api->fail(operation::list, make_error(errc::network));
  }
  /// The record of a former daemon that died before the answer.
  void unresolved_since(caf::timespan ago) {
    start.fresh = false;
    start.record.state = phase::creating;
    start.record.intent = "int1";
    start.record.unresolved = true;
    auto at = svc->wall_now() - std::chrono::duration_cast<std::chrono::milliseconds>(ago);
    svc->intended_at = [at](const sandbox_id& id, const std::string& intent) -> result<utc_time> {
      if (id.value != "sb_a" || intent != "int1") return make_error(errc::not_found);
      return at;
    };
  }
};

} // namespace

TEST_CASE_METHOD(create_world, "a create that no list shows is settled before there is another") {
  api->fail(operation::create, make_error(errc::network));
  begin();
  advance(svc->limits.create.settle_after() - 1s);
  CHECK(api->count(operation::create) == 1);
  CHECK(count("sandbox.create_failed") == 0);
  CHECK(count("create_unresolved") == 1);
  CHECK(api->count(operation::list) == 8); // less and less often
  advance(2s);
  CHECK(api->count(operation::create) == 2);
  auto intents = all<create_intended>();
  REQUIRE(intents.size() == 2);
  CHECK(intents[0].intent != intents[1].intent);
  CHECK(all<create_failed>().at(0).intent == intents[0].intent);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(create_world,
                 "a provider's own deadline and first lease decide when it is settled") {
  auto& own = svc->limits.create_at[spec->provider];
  own = {2s, 6s};
  api->fail(operation::create, make_error(errc::network));
  begin();
  CHECK(all<create_intended>().at(0).lease_ms == 6000);
  advance(7s);
  CHECK(count("sandbox.create_failed") == 0);
  advance(5s);
  CHECK(count("sandbox.create_failed") == 1);
  CHECK(api->count(operation::create) == 2);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(create_world, "lists that fail do not settle a create, however late it is") {
  api->fail(operation::create, make_error(errc::timed_out));
  fail_lists(8);
  begin();
  advance(svc->limits.create.settle_after() + 9s); // full lists at 180 s and 185 s
  CHECK(api->count(operation::create) == 1);
  CHECK(count("sandbox.create_failed") == 0);
  advance(2s);
  CHECK(count("sandbox.create_failed") == 1);
  CHECK(api->count(operation::create) == 2);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(create_world,
                 "a sandbox that shows up late is taken, and nothing is created twice") {
  api->fail(operation::create, make_error(errc::timed_out));
  begin();
  advance(100s);
  auto& info = api->boxes["i7"].info;
  info.remote_id = "i7";
  info.address = {"i7", "token", ""};
  info.metadata = {{"skep.install", "in_1"}, {"skep.intent", all<create_intended>().at(0).intent}};
  advance(30s);
  CHECK(all<sandbox_created>().at(0).remote_id == "i7");
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(api->count(operation::create) == 1);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(create_world, "a provider that stays out of sight fails the sandbox, unresolved") {
  api->fail(operation::create, make_error(errc::network));
  fail_lists(100);
  begin();
  advance(svc->limits.create.settle_after() + 2min);
  CHECK(count("sandbox.closed") == 0);
  advance(1min);
  CHECK(ending() == "failed network@create");
  CHECK(count("sandbox.create_failed") == 0); // the REAPER will know one day
  CHECK(api->count(operation::create) == 1);
}

TEST_CASE_METHOD(create_world, "creates that never arrive are given up after some") {
  for (int i = 0; i < 9; ++i)
    api->fail(operation::create, make_error(errc::network));
  begin();
  advance(svc->limits.create.settle_after() * svc->limits.step_attempts + 10s);
  CHECK(api->count(operation::create) == svc->limits.step_attempts);
  CHECK(ending() == "failed network@create");
}

TEST_CASE_METHOD(create_world, "what makes no sense, create and list, is no provider to wait for") {
  api->fail(operation::create, make_error(errc::protocol));
  api->fail(operation::list, make_error(errc::protocol));
  begin();
  CHECK(ending() == "failed protocol@create");
  CHECK(count("sandbox.create_failed") == 1);
}

TEST_CASE_METHOD(create_world, "a stop does not wait for a create without an answer") {
  auto [how, result] = GENERATE(table<stop_mode, std::string>(
      {{stop_mode::graceful, "cancelled"}, {stop_mode::kill, "killed"}}));
  api->fail(operation::create, make_error(errc::network));
  begin();
  advance(20s);
  stop(how);
  CHECK(ending() == result);
  CHECK(count("sandbox.create_failed") == 0); // still unresolved
  auto lists = api->count(operation::list);
  advance(5min);
  CHECK(api->count(operation::list) == lists);
}

TEST_CASE_METHOD(create_world, "after a restart the time counts from the journaled intent") {
  SECTION("some of it is left") {
    unresolved_since(100s);
    begin();
    advance(79s);
    CHECK(api->count(operation::create) == 0);
    CHECK(count("sandbox.create_failed") == 0);
    advance(2s);
  }
  SECTION("it is long over, and three full lists are still needed") {
    unresolved_since(1h);
    begin();
    advance(9s);
    CHECK(api->count(operation::list) == 2);
    CHECK(count("sandbox.create_failed") == 0);
    advance(2s);
    CHECK(api->count(operation::list) == 3);
  }
  SECTION("a journal that cannot tell makes it longer, not shorter") {
    unresolved_since(1h);
    svc->intended_at = [](const sandbox_id&, const std::string&) -> result<utc_time> {
      return make_error(errc::compacted);
    };
    begin();
    advance(179s);
    CHECK(count("sandbox.create_failed") == 0);
    advance(2s);
  }
  CHECK(all<create_failed>().at(0).intent == "int1");
  CHECK(api->count(operation::create) == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(create_world, "a sandbox whose answer comes after a kill is killed, too") {
  api->hold(operation::create);
  begin();
  stop(stop_mode::kill);
  CHECK(api->boxes.size() == 1);
  api->release(operation::create);
  advance(1s);
  CHECK(api->boxes.empty());
  CHECK(all<sandbox_created>().size() == 1);
  CHECK(count("sandbox.kill_intended") == 1);
  CHECK(count("sandbox.kill_confirmed") == 1);
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(all<sandbox_closed>()[0].result == outcome::killed);
}

TEST_CASE_METHOD(create_world, "a create whose call was cut off is not told as one that was never "
                               "sent") {
  api->fail(operation::create, make_error(errc::cancelled));
  begin();
  advance(svc->limits.create.settle_after() + 2s);
  auto told = all<create_failed>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].intent == all<create_intended>().at(0).intent);
  CHECK(told[0].why.code == errc::timed_out); // and so it counts in the windows of creations
  CHECK(api->count(operation::create) == 2);
  exit("pn_0");
  CHECK(ending() == "completed");
}

// ---- an end that comes before the provider is asked -------------------------------------------

TEST_CASE_METHOD(create_world, "an end that comes while the intent of a create goes to disk sends "
                               "no create, and leaves none unresolved") {
  auto [how, result] = GENERATE(table<stop_mode, outcome>(
      {{stop_mode::graceful, outcome::cancelled}, {stop_mode::kill, outcome::killed}}));
  late_answer late{svc->handles->journal(), {}};
  auto holder = v.sys.spawn(answering_late, &late);
  svc->handles->put_journal(holder);
  begin();
  REQUIRE(all<create_intended>().size() == 1);
  REQUIRE(late.give);
  CHECK(api->count(operation::create) == 0);
  stop(how);
  caf::anon_send(holder, flush_a::value);
  settle();
  CHECK(api->count(operation::create) == 0);
  auto told = all<create_failed>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].intent == all<create_intended>()[0].intent);
  CHECK(told[0].why.code == errc::cancelled);
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(all<sandbox_closed>()[0].result == result);
  CHECK(count("sandbox.kill_intended") == 0);
  svc->handles->put_journal(late.real);
  holder = nullptr;
  late = {};
}
