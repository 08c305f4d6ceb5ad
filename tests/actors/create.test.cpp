// Scripts of the SANDBOX: creates, and what becomes of one without an answer.
#include "tests/actors/late_answer.hpp"
#include "tests/actors/nearly_full.hpp"
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

// ---- what is on disk before the provider is asked ---------------------------------------------

TEST_CASE_METHOD(create_world, "a sandbox and all of its panes are written down as one") {
  panes(100); // more than a chunk has by itself
  api->fail(operation::create, make_error(errc::auth));
  begin();
  CHECK(ending() == "failed auth@create");
  std::vector<std::uint32_t> together;
  for (const auto& c : log->committed) {
    auto first = event_reader{c.body.data}.next();
    REQUIRE(first);
    if (first->type == event_traits<sandbox_queued>::info.type) together.push_back(c.count);
  }
  CHECK(together == std::vector<std::uint32_t>{101});
}

TEST_CASE_METHOD(create_world, "panes that a former daemon did not write down are written down "
                               "before anything is made") {
  panes(4);
  start.fresh = false;
  start.record.state = GENERATE(phase::queued, phase::creating);
  start.panes.erase(start.panes.begin() + 2, start.panes.end());
  start.panes.erase(start.panes.begin());
  REQUIRE(start.panes.size() == 1);
  api->fail(operation::create, make_error(errc::auth));
  begin();
  advance(1s);
  strings made;
  auto created = all<pane_created>();
  for (const auto& p : created)
    made.push_back(std::to_string(p.index) + " " + p.name + " " + p.branch);
  CHECK(made == strings{"0 p0 skep/p0", "2 p2 skep/p2", "3 p3 skep/p3"});
  auto names = events();
  CHECK(std::find(names.rbegin(), names.rend(), "pane.created").base()
        <= std::find(names.begin(), names.end(), "sandbox.create_intended"));
  CHECK(api->count(operation::create) == 1);
  CHECK(count("pane.closed") == 4);
  CHECK(count("panes_missing") == 0);
  CHECK(count("sandbox.closed") == 1);
}

TEST_CASE_METHOD(create_world, "a kill that comes while missing panes are written down ends all of "
                               "them, and creates nothing") {
  panes(2);
  start.fresh = false;
  start.record.state = phase::queued;
  start.panes.pop_back();
  log->refuse = [this, told = false](const chunk& c) mutable { // they are on their way to the disk
    auto first = event_reader{c.body.data}.next();
    if (first && first->type == event_traits<pane_created>::info.type && !std::exchange(told, true))
      caf::anon_send(ctx->keeper(), stop_a::value, stop_mode::kill);
    return error{};
  };
  begin();
  advance(1s);
  CHECK(count("pane.created") == 1);
  CHECK(count("pane.closed") == 2);
  CHECK(events().back() == "sandbox.closed");
  CHECK(api->count(operation::create) == 0);
}

TEST_CASE_METHOD(create_world, "panes that are missing after the agents started are told") {
  panes(3);
  recorded(phase::running);
  start.panes.pop_back();
  begin();
  advance(1s);
  CHECK(count("pane.created") == 0);
  std::string told;
  auto notices = all<notice>();
  for (const auto& n : notices)
    if (n.code == "panes_missing") told += n.text;
  CHECK(told
        == "sb_a: a former daemon died before it had written down 1 of its 3 panes, and started "
           "without them");
}

// ---- a nearly full disk -----------------------------------------------------------------------

namespace {

struct nearly_full_world : create_world {
  std::uint32_t refusals = 0; ///< Of create intents.
  nearly_full_world() {
    log->refuse = [this](const chunk& c) {
      auto why = nearly_full(c);
      if (why && has_create_intent(c)) ++refusals;
      return why;
    };
  }
};

} // namespace

TEST_CASE_METHOD(nearly_full_world, "a create that a nearly full disk refuses is tried again until "
                                    "there is room, and fails nothing") {
  begin();
  CHECK(refusals == 1);
  advance(svc->limits.disk_wait * 10);
  CHECK(refusals == 11);
  CHECK(api->count(operation::create) == 0);
  CHECK(count("sandbox.closed") == 0);
  CHECK(up.endings.empty());
  log->refuse = nullptr;
  advance(svc->limits.disk_wait);
  CHECK(api->count(operation::create) == 1);
  CHECK(all<create_intended>().size() == 1);
  std::string told;
  auto notices = all<notice>();
  for (const auto& n : notices)
    if (n.code == "create_waited") told += n.text;
  CHECK(told
        == "sb_a: its create waited 330 s for room on the disk of this machine, which was nearly "
           "full");
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(phases() == whole_life);
}

TEST_CASE_METHOD(nearly_full_world, "a create that waits for room on the disk holds up no end") {
  auto [how, result] =
      GENERATE(table<stop_mode, std::string>({{stop_mode::graceful, "cancelled"},
                                              {stop_mode::kill, "killed"},
                                              {stop_mode::timed_out, "timed_out timed_out@"}}));
  begin();
  advance(10s);
  stop(how);
  CHECK(ending() == result);
  log->refuse = nullptr;
  advance(2min);
  CHECK(refusals == 1);
  CHECK(api->count(operation::create) == 0);
  CHECK(count("sandbox.create_intended") == 0);
  CHECK(events().back() == "sandbox.closed");
}

TEST_CASE_METHOD(nearly_full_world,
                 "an intent that a nearly full disk refuses after the wish to end "
                 "is not tried again") {
  auto [how, result] = GENERATE(table<stop_mode, std::string>(
      {{stop_mode::graceful, "cancelled"}, {stop_mode::kill, "killed"}}));
  log->refuse = [this, real = log->refuse, stop_how = how](const chunk& c) {
    if (has_create_intent(c)) caf::anon_send(ctx->keeper(), stop_a::value, stop_how);
    return real(c);
  };
  begin();
  CHECK(ending() == result);
  CHECK(refusals == 1);
  advance(2min);
  CHECK(refusals == 1);
  CHECK(api->count(operation::create) == 0);
}

TEST_CASE_METHOD(create_world, "a nearly full disk that takes no warning of an open network loses "
                               "no sandbox, and the warning comes when there is room") {
  spec->network = network_policy::none;
  svc->limits.create_at[spec->provider].network = network_check::warn;
  guest["reach"] = [](const sandbox::command& c) -> result<command_result> {
    return said(reached_from_inside(c, {{"1.1.1.1@443", 0}}) + "\n");
  };
  log->refuse = [](const chunk& c) { return has_create_intent(c) ? error{} : nearly_full(c); };
  begin();
  advance(svc->limits.disk_wait * 3 + 1s);
  CHECK(phases().back() == "running");
  CHECK(count("network_not_held") == 0);
  CHECK(api->count(operation::create) == 1);
  CHECK(count("sandbox.closed") == 0);
  log->refuse = nullptr;
  advance(svc->limits.disk_wait);
  CHECK(count("network_not_held") == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
  advance(svc->limits.disk_wait * 2);
  CHECK(count("network_not_held") == 1);
}
