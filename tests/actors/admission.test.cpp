// ADMISSION in the whole tree: limits, the line, what survives a restart.
#include "tests/actors/late_answer.hpp"
#include "tests/actors/limit_world.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE_METHOD(limit_world, "a sandbox beyond max_active waits and is created when one is gone") {
  rule().max_active = 1;
  begin();
  spec->sandboxes = 2;
  auto id = run();
  advance(2s);
  CHECK(api->count(operation::create) == 1);
  CHECK(states(id) == strings{"running", "queued"});
  auto waits = all<sandbox_waits>();
  REQUIRE(waits.size() == 1);
  CHECK(waits[0].position == 1);
  CHECK(waits[0].rule == "max_active");
  CHECK(waits[0].limit == 1);
  CHECK(waits[0].count == 1);
  CHECK(waits[0].setting == "providers.cloud.max_active");
  CHECK(waits[0].wait_ms > 0); // the lease of the other one
  auto shown = call(budget_request{});
  REQUIRE(shown);
  REQUIRE(shown->waiting.size() == 1);
  CHECK(shown->waiting[0].sandbox == sandboxes(id)[1].sandbox);
  agents_end(sandboxes(id)[0]);
  advance(2s);
  CHECK(api->count(operation::create) == 2);
  CHECK(call(budget_request{})->waiting.empty());
  agents_end(sandboxes(id)[1]);
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(limit_world,
                 "of many sandboxes only max_starting are on their way at a time, and none is "
                 "refused") {
  rule().max_starting = 2;
  begin();
  spec->sandboxes = 5;
  spec->no_queue = true;
  api->hold(operation::health); // no sandbox gets beyond its verification
  auto id = run();
  advance(2s);
  CHECK(api->count(operation::create) == 2);
  CHECK(states(id) == strings{"verifying", "verifying", "queued", "queued", "queued"});
  CHECK(all<sandbox_waits>().empty()); // it passes: no news yet
  advance(9s);
  REQUIRE(all<sandbox_waits>().size() == 3);
  CHECK(all<sandbox_waits>()[0].rule == "max_starting");
  api->release(operation::health);
  advance(5s);
  CHECK(api->count(operation::create) == 5);
  CHECK(states(id) == strings(5, "running"));
  finish();
}

TEST_CASE_METHOD(limit_world,
                 "who waits hears of each of the last ten places, and before of a quarter of "
                 "the line at a time") {
  rule().max_active = 1;
  begin();
  spec->sandboxes = 40;
  auto id = run();
  advance(2s);
  const auto last = sandboxes(id).back().sandbox;
  for (std::size_t n = 0; n < 39; ++n) {
    agents_end(sandboxes(id)[n]);
    advance(11s);
    REQUIRE(states(id)[n + 1] == "running");
  }
  std::vector<std::uint32_t> places;
  for (const auto& c : log->committed) {
    if (c.sandbox != last) continue;
    for (event_reader r{c.body.data}; !r.done();) {
      auto e = interpret(r.next().value());
      if (const auto* x = std::get_if<sandbox_waits>(&*e)) places.push_back(x->position);
    }
  }
  CHECK(places
        == std::vector<std::uint32_t>{39, 30, 23, 18, 14, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1});
  agents_end(sandboxes(id)[39]);
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(limit_world, "max_active_per_repo makes one repository wait and lets another go") {
  rule().max_active_per_repo = 1;
  begin();
  auto one = run();
  auto two = run();
  test::repo other;
  other.put("README", "a work tree\n"); // the fixture unpacks one tree for all
  other.commit();
  spec->repo = other.path;
  auto three = run();
  advance(2s);
  CHECK(states(one) == strings{"running"});
  CHECK(states(two) == strings{"queued"});
  CHECK(states(three) == strings{"running"});
  CHECK(all<sandbox_waits>().at(0).rule == "max_active_per_repo");
  finish();
}

TEST_CASE_METHOD(limit_world,
                 "creations in a minute: the next one waits until the oldest is past") {
  rule().creates_per_minute = 2;
  begin();
  spec->sandboxes = 3;
  auto id = run();
  advance(2s);
  CHECK(api->count(operation::create) == 2);
  auto waits = all<sandbox_waits>();
  REQUIRE(waits.size() == 1);
  CHECK(waits[0].rule == "creates_per_minute");
  CHECK(waits[0].wait_ms > 55'000);
  CHECK(waits[0].wait_ms <= 60'000);
  advance(50s);
  CHECK(api->count(operation::create) == 2);
  advance(12s);
  CHECK(api->count(operation::create) == 3);
  finish();
}

TEST_CASE_METHOD(limit_world, "a clock that is set forward or back neither opens a window of "
                              "creations nor keeps it closed") {
  rule().creates_per_minute = 2;
  slew_the_clock();
  begin();
  spec->sandboxes = 3;
  auto id = run();
  advance(2s);
  REQUIRE(api->count(operation::create) == 2);
  wall_jump = GENERATE(std::chrono::milliseconds{3h}, std::chrono::milliseconds{-3h});
  advance(50s); // up to 54.5 s by the daemon's clock
  CHECK(api->count(operation::create) == 2);
  advance(15s); // at least 63 s
  CHECK(api->count(operation::create) == 3);
  finish();
}

TEST_CASE_METHOD(limit_world, "the windows and the places in use survive a restart of the daemon") {
  rule().creates_per_hour = 2;
  rule().max_active = 3;
  begin();
  spec->limit_ms = 5 * 3'600'000;
  spec->sandboxes = 2;
  auto id = run();
  CHECK(api->count(operation::create) == 2);
  stop(); // which takes 10 min of the virtual clock
  start();
  auto later = run();
  advance(2s);
  CHECK(api->count(operation::create) == 2);
  CHECK(all<sandbox_waits>().back().rule == "creates_per_hour");
  CHECK(all<sandbox_waits>().back().wait_ms <= 50 * 60'000); // not a new hour
  v.advance(50min);
  advance(2s);
  CHECK(api->count(operation::create) == 3); // the third place of three
  CHECK(states(later) == strings{"running", "queued"});
  CHECK(all<sandbox_waits>().back().rule == "max_active");
  CHECK(states(id) == strings{"running", "running"});
  finish();
}

TEST_CASE_METHOD(limit_world, "a creation that fails counts in the windows and frees its place") {
  rule().creates_per_hour = 2;
  rule().max_active = 1;
  begin();
  api->fail(operation::create, make_error(errc::auth));
  auto one = run();
  CHECK(ending(one) == "closed failed");
  auto two = run();
  CHECK(states(two) == strings{"running"}); // the place was free
  agents_end(only_sandbox(two));
  advance(2s);
  auto three = run();
  advance(2s);
  CHECK(states(three) == strings{"queued"});
  CHECK(all<sandbox_waits>().back().rule == "creates_per_hour");
  CHECK(all<sandbox_waits>().back().count == 2);
  finish();
}

TEST_CASE_METHOD(limit_world, "a creation that was called off before it was sent counts in no "
                              "window, also after a restart of the daemon") {
  rule().creates_per_hour = 1;
  begin();
  late_answer late{svc->handles->journal(), {}};
  auto holder = v.sys.spawn(answering_late, &late);
  svc->handles->put_journal(holder);
  auto one = run();
  REQUIRE(late.give);
  REQUIRE(call(stop_request{one, false}));
  caf::anon_send(holder, flush_a::value);
  settle();
  svc->handles->put_journal(late.real);
  holder = nullptr;
  late = {};
  advance(2s);
  CHECK(ending(one) == "closed cancelled");
  REQUIRE(all<create_failed>().size() == 1);
  CHECK(all<create_failed>()[0].why.code == errc::cancelled);
  CHECK(api->count(operation::create) == 0);
  auto counted = [this]() -> std::uint64_t {
    auto shown = call(budget_request{});
    REQUIRE(shown);
    for (const auto& line : shown->limits)
      if (line.rule == "creates_per_hour") return line.count;
    return 99;
  };
  CHECK(counted() == 0);
  stop();
  start();
  CHECK(counted() == 0);
  auto two = run();
  advance(2s);
  CHECK(states(two) == strings{"running"});
  CHECK(api->count(operation::create) == 1);
  CHECK(counted() == 1);
  finish();
}

TEST_CASE_METHOD(limit_world, "a run that does not queue is refused with limit, count and wait") {
  rule().creates_per_hour = 1;
  begin();
  auto one = run();
  spec->no_queue = true;
  auto refused = call(run_request{*spec});
  REQUIRE_FALSE(refused);
  CHECK(refused.err().code == errc::rate);
  CHECK(info(refused.err().code).exit_code == 75);
  CHECK(refused.err().message.find("1 of 1 (creates_per_hour)") == 0);
  CHECK(refused.err().message.find("providers.cloud.creates_per_hour") != std::string::npos);
  CHECK(refused.err().retry_after_ms > 3'500'000);
  CHECK(api->count(operation::create) == 1);
  CHECK(tables->swarms(true)->size() == 1); // nothing was made of it
  finish();
}

TEST_CASE_METHOD(limit_world, "a run that does not queue must find room for all its sandboxes") {
  rule().max_active = 2;
  begin();
  spec->no_queue = true;
  spec->sandboxes = 3;
  CHECK(call(run_request{*spec}).err().code == errc::quota);
  spec->sandboxes = 2;
  auto id = run();
  CHECK(states(id) == strings{"running", "running"});
  finish();
}

TEST_CASE_METHOD(limit_world,
                 "a plan is answered as the run would be, by its own repository, and nothing is "
                 "made") {
  rule().max_active = 3;
  rule().max_active_per_repo = 1;
  begin();
  auto one = run();
  spec->no_queue = true;
  auto plan = [this] {
    auto reply = call(plan_request{*spec});
    if (!reply) FAIL(render(reply.err()));
    return *reply;
  };
  auto refused = plan().refused;
  CHECK(refused.code == errc::quota);
  CHECK(refused.message == call(run_request{*spec}).err().message);
  test::repo other;
  other.put("README", "a work tree\n"); // the fixture unpacks one tree for all
  other.commit();
  spec->repo = other.path;
  auto calm = plan();
  CHECK_FALSE(calm.refused);
  CHECK(calm.limit_ms == spec->limit_ms);
  for (const auto& line : calm.limits) {
    CHECK(line.provider == "cloud");
    if (line.rule == "max_active") CHECK(line.count == 1);
    if (line.rule == "max_active_per_repo") CHECK(line.count == 0);
  }
  REQUIRE(call(drain_request{true}));
  CHECK(plan().refused.code == errc::draining);
  REQUIRE(call(drain_request{false}));
  CHECK(api->count(operation::create) == 1);
  CHECK(tables->swarms(true)->size() == 1);
  auto two = run(); // as the plan said
  CHECK(states(two) == strings{"running"});
  spec->panes = 0;
  CHECK(call(plan_request{*spec}).err().code == call(run_request{*spec}).err().code);
  finish();
}

TEST_CASE_METHOD(limit_world,
                 "a plan tells how fast the last uploads to its provider were, and nothing where "
                 "none was measured") {
  tree.put("data", std::string(2u << 20, 'x'));
  tree.commit();
  begin();
  auto plan = [this](const std::string& provider) {
    auto ask = *spec;
    ask.provider = provider;
    auto reply = call(plan_request{ask});
    if (!reply) FAIL(render(reply.err()));
    return *reply;
  };
  CHECK(plan("cloud").uploads_measured == 0);
  CHECK(plan("cloud").upload_bytes_per_s == 0);
  api->turn_down = [this](operation op, const std::string& what) {
    if (op == operation::upload_file && what.find("worktree.tar") != what.npos) api->hold(op);
    return error{};
  };
  auto id = run();
  CHECK(states(id) == strings{"uploading"});
  advance(4s);
  api->turn_down = nullptr;
  api->release(operation::upload_file);
  advance(1s);
  REQUIRE(states(id) == strings{"running"});
  auto rows = tables->transfers(id).value();
  REQUIRE(rows.size() == 1);
  auto took = rows[0].ended_at - rows[0].created_at;
  CHECK(took >= 4s);
  CHECK(rows[0].size_bytes > (2u << 20));
  auto known = plan("cloud");
  CHECK(known.uploads_measured == 1);
  CHECK(known.upload_bytes_per_s
        == rows[0].size_bytes * 1000 / static_cast<std::uint64_t>(took.count()));
  CHECK(plan("local").uploads_measured == 0);
  finish();
}

TEST_CASE_METHOD(limit_world, "a run that could never fit is refused before anything is made") {
  rule().max_active = 0;
  begin();
  auto refused = call(run_request{*spec});
  REQUIRE_FALSE(refused);
  CHECK(refused.err().code == errc::never_fits);
  CHECK(refused.err().message.find("max_active") == 0);
  CHECK(tables->swarms(true)->empty());
  finish();
}

TEST_CASE_METHOD(limit_world, "what waits leaves the line when its swarm is stopped") {
  rule().max_active = 1;
  begin();
  auto one = run();
  auto two = run();
  auto three = run();
  advance(2s);
  CHECK(call(budget_request{})->waiting.size() == 2);
  REQUIRE(call(stop_request{two, false}));
  advance(2s);
  CHECK(ending(two) == "closed cancelled");
  auto line = call(budget_request{})->waiting;
  REQUIRE(line.size() == 1);
  CHECK(line[0].swarm == three);
  CHECK(line[0].position == 1);
  CHECK(api->count(operation::create) == 1);
  agents_end(only_sandbox(one));
  advance(2s);
  CHECK(states(three) == strings{"running"});
  CHECK(ending(two) == "closed cancelled");
  finish();
}

TEST_CASE_METHOD(limit_world, "a closed sandbox whose kill is not confirmed holds its place") {
  rule().max_active = 1;
  svc->limits.reap_interval = 600s; // only who needs the place wakes the reaper
  begin();
  auto one = run();
  for (std::uint32_t i = 0; i < svc->limits.kill_attempts; ++i)
    api->fail(operation::kill, make_error(errc::network));
  agents_end(only_sandbox(one));
  advance(30s);
  REQUIRE(ending(one) == "closed completed");
  REQUIRE(api->boxes.size() == 1);
  CHECK(count("sandbox.kill_confirmed") == 0);
  auto two = run();
  advance(5s);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(states(two) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(limit_world,
                 "a plan counts on the place of a dead sandbox, and ends none for it") {
  rule().max_active = 1;
  svc->limits.reap_interval = 600s; // only who needs the place wakes the reaper
  begin();
  auto one = run();
  for (std::uint32_t i = 0; i < svc->limits.kill_attempts; ++i)
    api->fail(operation::kill, make_error(errc::network));
  agents_end(only_sandbox(one));
  advance(30s);
  REQUIRE(ending(one) == "closed completed");
  spec->no_queue = true;
  auto plan = call(plan_request{*spec});
  REQUIRE(plan);
  CHECK_FALSE(plan->refused);
  advance(5s);
  CHECK(count("sandbox.kill_confirmed") == 0);
  auto two = run(); // the run itself has it ended
  advance(5s);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(states(two) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(limit_world, "an unresolved create holds its place until it is settled") {
  rule().max_active = 1;
  begin();
  api->fail(operation::create, make_error(errc::timed_out));
  auto one = run();
  auto two = run();
  advance(60s);
  CHECK(states(two) == strings{"queued"});
  REQUIRE(call(stop_request{one, true}));
  advance(svc->limits.create.settle_after());
  CHECK(states(two) == strings{"queued"}); // the reaper still looks for it
  advance(120s);
  CHECK(states(two) == strings{"running"});
  CHECK(api->count(operation::create) == 2);
  finish();
}

TEST_CASE_METHOD(limit_world, "a hung upload is ended and its place and reservation are free") {
  rule().max_active = 1;
  rule().usd_per_hour = 1;
  begin();
  api->hold(operation::upload_file);
  auto one = run();
  auto two = run();
  advance(10s);
  CHECK(call(budget_request{})->budgets.at(0).reserved_usd > 0);
  CHECK(states(two) == strings{"queued"});
  REQUIRE(call(stop_request{two, false}));
  advance(std::chrono::seconds{svc->limits.upload_deadline} + 300s);
  CHECK(ending(one) == "closed failed");
  CHECK(api->boxes.empty());
  auto day = call(budget_request{})->budgets.at(0);
  CHECK(day.reserved_usd == 0);
  CHECK(day.usd_per_hour == 0);
  auto spent = day.spent_usd;
  CHECK(spent > 0);
  advance(60s);
  CHECK(call(budget_request{})->budgets.at(0).spent_usd == spent); // cost has stopped
  finish();
}

TEST_CASE_METHOD(limit_world, "admission that dies is started again and forgets nobody") {
  rule().max_active = 1;
  begin();
  auto one = run();
  auto two = run();
  advance(2s);
  crash("admission");
  advance(30s);
  CHECK(states(one) == strings{"running"});
  CHECK(states(two) == strings{"queued"});
  CHECK(api->count(operation::create) == 1);
  agents_end(only_sandbox(one));
  advance(5s);
  CHECK(states(two) == strings{"running"});
  finish();
}
