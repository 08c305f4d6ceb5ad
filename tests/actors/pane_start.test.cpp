// Scripts of an attempt's launch: answers that are late, lost, or never come.
#include "tests/actors/pane_world.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE_METHOD(pane_world,
                 "a start whose answer the last daemon did not see is asked for again") {
  rec.state = pane_phase::starting;
  rec.attempt = 1;
  begin();
  CHECK(starts() == strings{"1"});
  CHECK(events() == strings{"pane.started"});
}

TEST_CASE_METHOD(pane_world, "a start that may succeed later is repeated, then given up") {
  for (int i = 0; i < 3; ++i)
    api->fail(operation::run, make_error(errc::network));
  SECTION("it succeeds in time") {
    begin();
    CHECK(starts().size() == 1);
    v.advance(999ms);
    CHECK(starts().size() == 1);
    v.advance(1ms);
    CHECK(starts().size() == 2);
    v.advance(2s);
    CHECK(starts().size() == 3);
    v.advance(4s);
    CHECK(starts() == strings{"1", "1", "1", "1"}); // one attempt all the time
    CHECK(events() == strings{"pane.start_intended", "pane.started"});
  }
  SECTION("it never does") {
    api->fail(operation::run, make_error(errc::network));
    begin();
    v.advance(5min);
    CHECK(starts().size() == svc->limits.step_attempts);
    CHECK(up.lines == strings{"closed failed network@run"});
  }
}

TEST_CASE_METHOD(pane_world, "a pane runs when its holder says so, however slow within its limit") {
  api->hold(operation::run);
  begin();
  v.advance(29s);
  CHECK(up.lines.empty());
  CHECK(count("pane.started") == 0);
  api->release(operation::run);
  v.run();
  CHECK(events() == strings{"pane.start_intended", "pane.started"});
  CHECK(up.lines == strings{"ready"});
  v.advance(5min);
  CHECK(count("pane.closed") == 0);
}

TEST_CASE_METHOD(pane_world,
                 "a holder that does not answer within its limit is an error that names "
                 "the pane, and is stopped inside") {
  api->hold(operation::run);
  begin();
  v.advance(30s);
  CHECK(up.lines == strings{"closed failed not_ready@start"});
  CHECK(all<pane_closed>().at(0).why.message == "p0 (pn_a) gave no word within 30 s");
  CHECK(signals() == strings{"KILL"});
  api->release(operation::run); // its word comes too late
  v.run();
  CHECK(count("pane.started") == 0);
  CHECK(signals() == strings{"KILL", "KILL"});
}

TEST_CASE_METHOD(pane_world,
                 "an agent that did not become ready is started anew as often as asked") {
  spec->pane_restarts = 1;
  api->hold(operation::run);
  begin();
  v.advance(30s);
  CHECK(count("pane.restarting") == 1);
  v.advance(1s);
  api->release(operation::run);
  v.run();
  CHECK(starts() == strings{"1", "2"});
  CHECK(count("pane.started") == 1);
  CHECK(all<pane_started>().at(0).attempt == 2);
  CHECK(up.lines == strings{"ready"});
}

TEST_CASE_METHOD(pane_world,
                 "the exit of an agent that was given up is not taken for that of the next one") {
  spec->pane_restarts = 1;
  api->hold(operation::run);
  begin();
  v.advance(30s);
  REQUIRE(signals() == strings{"KILL"});
  exit(-1, 1); // its holder has done that
  CHECK(count("pane.exited") == 0);
  v.advance(1s);
  api->release(operation::run);
  v.run();
  CHECK(starts() == strings{"1", "2"});
  REQUIRE(count("pane.started") == 1);
  CHECK(all<pane_started>().at(0).attempt == 2);
  CHECK(up.lines == strings{"ready"});
  tell(stop_a::value, stop_mode::graceful);
  CHECK(signals().back() == "INT"); // it is the second one that is interrupted
}

TEST_CASE_METHOD(pane_world, "an agent that has ended is judged by its end, although the answer to "
                             "its launch was lost") {
  spec->pane_restarts = 1;
  api->hold(operation::run);
  begin();
  exit(0);
  v.advance(30s);
  CHECK(events() == strings{"pane.start_intended", "pane.started", "pane.exited", "pane.closed"});
  CHECK(up.lines == strings{"ready", "closed completed"});
  api->release(operation::run);
  v.advance(1min);
  CHECK(starts() == strings{"1"});
  CHECK(signals().empty());
}

TEST_CASE_METHOD(
    pane_world, "an agent whose output has come runs, although the answer to its launch was lost") {
  api->hold(operation::run);
  begin();
  log_holds("hello\n");
  v.advance(30s);
  CHECK(events() == strings{"pane.start_intended", "pane.started"});
  CHECK(up.lines == strings{"ready"});
  api->release(operation::run);
  v.run();
  CHECK(signals().empty());
  CHECK(up.lines == strings{"ready"});
  exit(0);
  CHECK(up.lines.back() == "closed completed");
}

TEST_CASE_METHOD(pane_world, "a launch without an answer is asked for again within its limit") {
  auto asked = std::make_shared<unsigned>(0);
  guest["pane"] = [this, asked](const sandbox::command& c) -> result<command_result> {
    CHECK(c.limit * 3 <= svc->limits.ready_limit);
    if (++*asked <= 2 * svc->limits.step_attempts) return make_error(errc::timed_out);
    return said("{\"pid\":42}\n");
  };
  begin();
  v.advance(20s);
  CHECK(events() == strings{"pane.start_intended", "pane.started"});
  CHECK(*asked == 2 * svc->limits.step_attempts + 1);
  CHECK(up.lines == strings{"ready"});
}

TEST_CASE_METHOD(pane_world, "a pane whose holder still starts its agent is not called running") {
  guest["pane"] = [](const sandbox::command& c) -> result<command_result> {
    auto dir = *(std::find(c.argv.begin(), c.argv.end(), "--dir") + 1);
    return said(dir.ends_with("/1") ? "{\"state\":\"starting\"}\n" : "{\"pid\":42}\n");
  };
  SECTION("it is asked again until its time is over") {
    begin();
    v.advance(29s);
    CHECK(starts().size() > svc->limits.step_attempts);
    CHECK(events() == strings{"pane.start_intended"});
    v.advance(1s);
    CHECK(up.lines == strings{"closed failed not_ready@start"});
    CHECK(signals() == strings{"KILL"});
  }
  SECTION("an attempt that was given up is not asked for once more") {
    spec->pane_restarts = 1;
    begin();
    v.advance(30s);
    REQUIRE(count("pane.restarting") == 1);
    auto before = starts().size();
    v.advance(10s);
    REQUIRE(starts().size() == before + 1);
    CHECK(starts().back() == "2");
    CHECK(up.lines == strings{"ready"});
  }
}

TEST_CASE_METHOD(pane_world, "a launch that ends in an error after its pane was given up is ended "
                             "inside, until its holder answers") {
  auto kills = std::make_shared<int>(0);
  guest["pane"] = [](const sandbox::command&) -> result<command_result> {
    return make_error(errc::timed_out);
  };
  guest["signal"] = [kills](const sandbox::command&) -> result<command_result> {
    if (++*kills <= 3) return make_error(errc::network);
    return said("{\"state\":\"signalled\"}\n");
  };
  api->hold(operation::run);
  begin();
  v.advance(30s);
  CHECK(up.lines == strings{"closed failed not_ready@start"});
  REQUIRE(signals() == strings{"KILL"});
  api->release(operation::run);
  v.run();
  CHECK(signals().size() == 2); // for the launch that may have happened all the same
  v.advance(2s);
  CHECK(signals().size() == 4); // neither had an answer; one has none again
  v.advance(4s);
  CHECK(signals().size() == 5);
  v.advance(10min);
  CHECK(signals().size() == 5);
  CHECK(starts() == strings{"1"});
}

TEST_CASE_METHOD(pane_world,
                 "a stop while a launch has no answer ends what it may have started inside") {
  guest["pane"] = [](const sandbox::command&) -> result<command_result> {
    return make_error(errc::network);
  };
  begin();
  tell(stop_a::value, stop_mode::graceful);
  v.advance(5s);
  CHECK(starts() == strings{"1"});
  CHECK(signals() == strings{"KILL"});
  CHECK(up.lines == strings{"closed cancelled"});
}

TEST_CASE_METHOD(pane_world,
                 "an agent that was found running is not given up because nobody can be asked") {
  rec.state = pane_phase::running;
  rec.attempt = 1;
  for (int i = 0; i < 8; ++i)
    api->fail(operation::run, make_error(errc::network));
  begin();
  v.advance(5min);
  CHECK(events().empty());
  CHECK(up.lines == strings{"ready"});
  exit(0);
  CHECK(events() == strings{"pane.exited", "pane.closed"});
}

TEST_CASE_METHOD(pane_world, "a start that is refused is not repeated") {
  guest["pane"] = [](const sandbox::command&) -> result<command_result> {
    return said("{\"error\":\"x\",\"message\":\"no such program\"}\n", 2);
  };
  begin();
  v.advance(5min);
  CHECK(starts().size() == 1);
  CHECK(up.lines == strings{"closed failed remote_command_failed@start"});
}

// ---- one attempt after the other --------------------------------------------------------------

namespace {

/// The first attempt gives no word and is given up after 30 s; the second one could start 1 s
/// later.
struct two_attempts : pane_world {
  int kills = 0;
  int deaf = 0; ///< So many kills have no answer.

  two_attempts() {
    spec->pane_restarts = 1;
    guest["pane"] = [](const sandbox::command& c) -> result<command_result> {
      auto dir = *(std::find(c.argv.begin(), c.argv.end(), "--dir") + 1);
      return said(dir.ends_with("/1") ? "{\"state\":\"starting\"}\n" : "{\"pid\":42}\n");
    };
    guest["signal"] = [this](const sandbox::command&) -> result<command_result> {
      if (++kills <= deaf) return make_error(errc::network);
      return said("{\"state\":\"signalled\"}\n");
    };
  }
};

} // namespace

TEST_CASE_METHOD(two_attempts,
                 "the next attempt waits until the kill of the one before is confirmed") {
  deaf = 3;
  begin();
  v.advance(30s);
  REQUIRE(count("pane.restarting") == 1);
  v.advance(13s);
  CHECK(kills == 3); // after 2, 4 and 8 s
  CHECK(starts().back() == "1");
  CHECK(count("pane.start_intended") == 1);
  v.advance(1s);
  CHECK(kills == 4);
  CHECK(starts().back() == "2");
  CHECK(up.lines == strings{"ready"});
  v.advance(5min); // the limit of that wait is nothing to the second one
  CHECK(count("pane.closed") == 0);
  CHECK(kills == 4);
}

TEST_CASE_METHOD(two_attempts,
                 "where nobody confirms the kill of an attempt, its pane fails and no second agent "
                 "is started") {
  deaf = 1000;
  begin();
  v.advance(31s);
  REQUIRE(count("pane.restarting") == 1);
  SECTION("nothing is heard of it") {
    v.advance(59s);
    CHECK(up.lines.empty());
    v.advance(1s);
    CHECK(up.lines == strings{"closed failed timed_out@start"});
    CHECK(all<pane_closed>().at(0).why.message
          == "attempt 1 of p0 (pn_a) may still run: nothing inside confirmed its end within 60 s");
    v.advance(5min);
    CHECK(starts().back() == "1");
    CHECK(count("pane.start_intended") == 1);
  }
  SECTION("its exit is seen in time") {
    v.advance(30s);
    CHECK(starts().back() == "1");
    exit(-1, 1);
    CHECK(starts().back() == "2");
    CHECK(count("pane.exited") == 0);
    v.advance(1min);
    CHECK(up.lines == strings{"ready"});
  }
  SECTION("a stop comes first") {
    tell(stop_a::value, stop_mode::graceful);
    CHECK(up.lines == strings{"closed cancelled"});
    v.advance(2min);
    CHECK(count("pane.closed") == 1);
  }
}

TEST_CASE_METHOD(pane_world, "an attempt whose launch was never asked for holds up no next one") {
  runs_claude();
  spec->pane_restarts = 1;
  api->hold(operation::write_file); // its prompt
  begin();
  v.advance(31s);
  REQUIRE(count("pane.start_intended") == 2);
  CHECK(signals().empty());
  api->release(operation::write_file);
  v.run();
  CHECK(starts() == strings{"2"});
}

TEST_CASE_METHOD(pane_world, "a pane that a former daemon left between two attempts ends the first "
                             "one before it starts the second") {
  rec.state = pane_phase::restarting;
  rec.attempt = 1;
  api->hold(operation::run);
  begin();
  CHECK(signals() == strings{"KILL"});
  CHECK(starts().empty());
  v.advance(59s);
  CHECK(events().empty());
  api->release(operation::run);
  v.run();
  CHECK(starts() == strings{"2"});
  CHECK(events() == strings{"pane.start_intended", "pane.started"});
}
