// Scripts of the SANDBOX that is taken up while its provider is out of reach.
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// A sandbox whose agent runs, of a former daemon; while `away` GET has no answer.
struct away_world : sandbox_world {
  bool away = true;
  bool kills_away = false;
  error what = make_error(errc::network);

  away_world() {
    recorded(phase::running);
    start.panes[0].state = pane_phase::running;
    start.panes[0].attempt = 1;
    api->turn_down = [this](operation op, const std::string&) {
      auto hit = op == operation::get || (kills_away && op == operation::kill);
      return away && hit ? what : error{};
    };
  }
  ~away_world() { api->turn_down = nullptr; }
};

} // namespace

TEST_CASE_METHOD(away_world, "ten minutes without the provider after a restart end no work: it is "
                             "followed and collected when the provider is back") {
  begin();
  advance(10min);
  CHECK(api->streams.empty());
  CHECK(count("sandbox.failing") == 0);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(count("provider_unreachable") == 1);
  CHECK(count("provider_reached") == 0);
  CHECK(api->count(operation::get) > 16);
  CHECK(api->count(operation::get) < 30); // more and more rarely
  away = false;
  advance(31s);
  CHECK(count("provider_reached") == 1);
  REQUIRE(api->streams.size() == 1);
  CHECK(api->streams[0]->what.argv.back() == "pn_0:1:0");
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(guest_calls("diff") == 1);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(away_world,
                 "a kill does not wait for a provider that is out of reach, and nothing "
                 "is taken up after it") {
  kills_away = true;
  begin();
  advance(1min);
  stop(stop_mode::kill);
  CHECK(count("sandbox.kill_intended") == 1);
  advance(15s);
  CHECK(ending() == "killed");
  CHECK(count("sandbox.kill_confirmed") == 0); // the REAPER's from now on
  away = false;
  auto gets = api->count(operation::get);
  advance(2min);
  CHECK(api->count(operation::get) == gets);
  CHECK(api->streams.empty());
}

TEST_CASE_METHOD(away_world,
                 "a stop waits for a provider that is out of reach as long as an end may "
                 "take, and no longer") {
  begin();
  advance(1min);
  stop(stop_mode::graceful);
  SECTION("back in time, the agent is stopped and its work is collected") {
    advance(2min);
    away = false;
    advance(31s);
    REQUIRE(api->streams.size() == 1);
    CHECK(guest_calls("signal") > 0);
    exit("pn_0");
    CHECK(ending() == "cancelled");
    CHECK(guest_calls("diff") == 1);
  }
  SECTION("not back") {
    advance(svc->limits.end_within() - 10s);
    CHECK(count("sandbox.kill_intended") == 0);
    advance(71s);
    CHECK(ending() == "cancelled network@adopt");
    CHECK(count("results_incomplete") == 1);
    CHECK(count("results_left_inside") == 1); // what the agent did is nowhere else
    CHECK(all<sandbox_closed>().at(0).kept);
    CHECK(count("sandbox.kill_intended") == 0);
    CHECK(api->boxes.size() == 1);
  }
}

TEST_CASE_METHOD(away_world,
                 "a stopped sandbox that stays out of reach after a restart is left with "
                 "its work, once its agents are known to be over") {
  start.record.state = phase::draining;
  start.stop = stop_mode::graceful;
  tables_close_its_pane();
  begin();
  advance(svc->limits.end_within() + 1min);
  CHECK(count("results_incomplete") == 1);
  CHECK(count("agents_may_work") == 1);
  CHECK(count("sandbox.closed") == 0);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(guest_calls("signal") == 0); // its address is not known yet
  SECTION("the provider is back") {
    away = false;
    advance(61s);
    CHECK(signals() == strings{"KILL"});
    CHECK(ending() == "cancelled network@adopt");
    CHECK(all<sandbox_closed>().at(0).kept);
    CHECK(count("results_left_inside") == 1);
    CHECK(count("sandbox.kill_intended") == 0);
    CHECK(api->boxes.size() == 1);
  }
  SECTION("the run's time limit comes first") {
    stop(stop_mode::timed_out);
    CHECK(ending() == "cancelled network@adopt");
    CHECK_FALSE(all<sandbox_closed>().at(0).kept);
    CHECK(count("results_left_inside") == 0);
    CHECK(api->boxes.empty());
  }
  SECTION("the sandbox did not outlive it") {
    api->boxes.clear();
    away = false;
    advance(61s);
    CHECK(ending() == "cancelled network@adopt");
    CHECK_FALSE(all<sandbox_closed>().at(0).kept);
    CHECK(count("sandbox.kill_confirmed") == 1);
  }
}

TEST_CASE_METHOD(away_world, "what stopped a run before a restart, if not its user, leaves nothing "
                             "up that stays out of reach") {
  start.record.state = phase::draining;
  start.stop = GENERATE(stop_mode::timed_out, stop_mode::former_shutdown);
  begin();
  advance(svc->limits.end_within() + 31s);
  REQUIRE(count("sandbox.closed") == 1);
  CHECK_FALSE(all<sandbox_closed>().at(0).kept);
  CHECK(count("results_left_inside") == 0);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(away_world, "a machine that sleeps takes none of the time that a stop waits for a "
                             "provider out of reach") {
  auto slept = std::make_shared<std::chrono::milliseconds>(0);
  svc->boot_now = [this, slept] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(v.now()) + *slept;
  };
  start.record.state = phase::draining;
  start.stop = stop_mode::graceful;
  begin(); // and its first look fails
  *slept = 10min;
  advance(31s); // and so do those after it wakes up
  CHECK(api->count(operation::get) > 2);
  CHECK(count("results_incomplete") == 0);
  away = false;
  advance(31s);
  REQUIRE(api->streams.size() == 1);
  exit("pn_0", 130);
  CHECK(ending() == "cancelled");
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(away_world, "a provider is waited for no longer than the lease on record") {
  start.record.lease_end_at = svc->wall_now() + 5min;
  begin();
  advance(290s);
  CHECK(count("sandbox.kill_intended") == 0);
  advance(41s);
  CHECK(ending() == "failed network@adopt");
  CHECK(count("sandbox.kill_intended") == 1);
}

TEST_CASE_METHOD(away_world,
                 "a provider that answers, but not with the sandbox, is asked some times "
                 "and no more") {
  what = make_error(errc::protocol);
  begin();
  advance(80s);
  CHECK(api->count(operation::get) == svc->limits.step_attempts * 4);
  CHECK(count("provider_unreachable") == 0);
  CHECK(count("sandbox.failing") == 1);
  advance(svc->limits.end_within());
  CHECK(ending() == "failed protocol@adopt");
}

TEST_CASE_METHOD(away_world, "a key that the provider refuses after a restart ends no work: the "
                             "sandbox is taken up when the key is right") {
  what = make_error(errc::auth);
  begin();
  advance(10min);
  CHECK(count("sandbox.failing") == 0);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(count("provider_unreachable") == 1);
  away = false;
  advance(31s);
  REQUIRE(api->streams.size() == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(guest_calls("diff") == 1);
}
