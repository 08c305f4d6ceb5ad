// Scripts of a provider elsewhere that answers 404 for a sandbox: for a moment, of one that lives,
// and for good.
#include "tests/actors/sandbox_world.hpp"

#include <deque>

using namespace skep;
using namespace skep::test;

namespace {

error no_such() {
  return make_error(errc::not_found);
}

/// A sandbox in a cloud, whose agent runs, of a former daemon. The next looks at it get `answers`,
/// in order; then its provider cannot be reached while `away`.
struct denied_world : sandbox_world {
  std::deque<error> answers;
  bool away = false;

  denied_world() {
    spec->provider = "cloud";
    recorded(phase::running);
    start.panes[0].state = pane_phase::running;
    start.panes[0].attempt = 1;
    api->turn_down = [this](operation op, const std::string&) {
      if (op != operation::get) return error{};
      if (answers.empty()) return away ? make_error(errc::network) : error{};
      auto next = answers.front();
      answers.pop_front();
      return next;
    };
  }
  ~denied_world() { api->turn_down = nullptr; }
  std::size_t looks() const { return api->count(operation::get); }
};

} // namespace

TEST_CASE_METHOD(denied_world, "one 404 for a sandbox that is taken up loses nothing: it is asked "
                               "for again, and its agents' work is collected") {
  answers = {no_such()};
  begin();
  advance(4s);
  CHECK(looks() == 1);
  CHECK(count("maybe_lost") == 1);
  CHECK(count("sandbox.failing") == 0);
  CHECK(api->streams.empty());
  advance(2s);
  CHECK(looks() == 2);
  CHECK(count("not_lost") == 1);
  REQUIRE(api->streams.size() == 1);
  CHECK(api->streams[0]->what.argv.back() == "pn_0:1:0");
  CHECK(api->count(operation::kill) == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(denied_world, "a sandbox that its provider denies at five looks in a row is lost, "
                               "a minute after the first") {
  api->boxes.clear();
  std::size_t most = 5;
  SECTION("by default") {
    begin();
    advance(64s);
    CHECK(looks() == 4);
    CHECK(count("sandbox.closed") == 0);
    CHECK(count("maybe_lost") == 1);
    advance(2s);
  }
  SECTION("as few as are set") {
    svc->limits.loss_looks = most = 1;
    begin();
  }
  SECTION("none but one after its lease") {
    most = 3;
    start.record.lease_end_at = svc->wall_now() + 10s;
    begin();
    advance(14s);
    CHECK(count("sandbox.closed") == 0);
    advance(2s);
  }
  CHECK(ending() == "lost not_found@adopt");
  CHECK(looks() == most);
  CHECK(count("not_lost") == 0);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(api->count(operation::kill) == 0);
}

TEST_CASE_METHOD(denied_world, "any other answer between two 404s begins the row anew") {
  answers = {no_such(), no_such(), no_such(), no_such(), make_error(errc::network),
             no_such(), no_such(), no_such(), no_such()};
  begin();
  advance(134s); // 65 s to the other answer, 5 s to the next look, 65 s from there
  CHECK(looks() == 9);
  CHECK(count("sandbox.failing") == 0);
  CHECK(count("provider_unreachable") == 1);
  CHECK(count("maybe_lost") == 1);
  advance(2s);
  CHECK(count("not_lost") == 1);
  REQUIRE(api->streams.size() == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(denied_world, "a kill does not wait until a sandbox that is denied is lost") {
  answers = {no_such(), no_such(), no_such()};
  begin();
  advance(6s);
  REQUIRE(looks() == 2);
  stop(stop_mode::kill);
  CHECK(count("sandbox.kill_intended") == 1);
  CHECK(ending() == "killed");
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(api->boxes.empty());
  advance(2min);
  CHECK(looks() == 2);
  CHECK(api->streams.empty());
}

TEST_CASE_METHOD(denied_world,
                 "a sandbox that is stopped while it is denied is stopped and collected once it is "
                 "there again") {
  answers = {no_such(), no_such()};
  bool by_former = GENERATE(false, true);
  if (by_former) start.stop = stop_mode::graceful;
  begin();
  advance(1s);
  if (!by_former) stop(stop_mode::graceful);
  advance(13s);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(api->streams.empty());
  advance(2s);
  REQUIRE(api->streams.size() == 1);
  CHECK_FALSE(agents_left_alone());
  exit("pn_0");
  CHECK(ending() == "cancelled");
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(
    denied_world,
    "a sandbox whose output stopped is lost only when its provider goes on to deny it") {
  begin();
  REQUIRE(api->streams.size() == 1);
  SECTION("it does") {
    api->lose("i1");
    advance(30s);
    CHECK(count("maybe_lost") == 1);
    CHECK(count("sandbox.failing") == 0);
    advance(66s);
    CHECK(ending() == "lost not_found@running");
    CHECK(count("output_incomplete") == 0);
    CHECK(count("sandbox.kill_intended") == 0);
    CHECK(guest_calls("diff") == 0);
  }
  SECTION("it has it again, and what its agents did is collected") {
    for (int i = 0; i < 5; ++i) {
      if (i == 4) answers = {no_such(), no_such()};
      api->streams.back()->end(1);
      advance(i < 4 ? 6s : 4s);
    }
    CHECK(count("maybe_lost") == 1);
    CHECK(count("output_incomplete") == 0);
    advance(16s);
    CHECK(count("not_lost") == 1);
    CHECK(count("output_incomplete") == 1);
    advance(21s); // nobody hears of the agent's end: its graces pass
    CHECK(ending() == "failed remote_command_failed@output");
    CHECK(guest_calls("diff") == 1);
  }
}

TEST_CASE_METHOD(denied_world, "a lease whose renewal is answered by 404 ends no work") {
  api->fail(operation::set_timeout, no_such());
  begin();
  advance(1s);
  CHECK(count("lease_not_renewed") == 1);
  CHECK(count("sandbox.failing") == 0);
  REQUIRE(api->streams.size() == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(denied_world, "a sandbox that answers no probe is lost only when its provider "
                               "denies it for as long as its looks would take") {
  begin();
  REQUIRE(looks() == 1);
  SECTION("it has it at the next look, and the sandbox answers again") {
    api->hold(operation::health);
    answers = {no_such()};
    advance(80s); // asked at 5, 35 and 65 s, each for 10 s
    CHECK(count("unhealthy") == 3);
    CHECK(looks() == 2);
    advance(30s);
    CHECK(looks() == 3);
    CHECK(count("sandbox.failing") == 0);
    api->release(operation::health);
    advance(61s);
    CHECK(count("healthy") == 1);
    exit("pn_0");
    CHECK(ending() == "completed");
  }
  SECTION("it goes on to deny it") {
    api->boxes.erase("i1"); // its streams hang
    advance(70s);
    CHECK(count("unhealthy") == 3);
    CHECK(looks() == 4);
    CHECK(count("sandbox.failing") == 0);
    advance(30s);
    CHECK(ending() == "lost not_found@running");
    CHECK(looks() == 5);
    CHECK(api->count(operation::kill) == 0);
  }
}

TEST_CASE_METHOD(denied_world,
                 "one 404 does not end a sandbox that is to be left up with its work") {
  start.record.state = phase::draining;
  start.stop = stop_mode::graceful;
  tables_close_its_pane();
  away = true;
  begin();
  advance(svc->limits.end_within() + 1min);
  REQUIRE(count("agents_may_work") == 1);
  answers = {no_such()};
  away = false;
  advance(125s); // two rounds, a minute apart
  CHECK(answers.empty());
  CHECK(signals() == strings{"KILL"});
  CHECK(ending() == "cancelled network@adopt");
  CHECK(all<sandbox_closed>().at(0).kept);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(api->boxes.size() == 1);
}
