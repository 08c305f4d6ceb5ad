// Scripts of freezing and thawing: what was answered as done reaches its agents, also where a
// signal has no answer or the daemon dies before it.
#include "tests/actors/pane_world.hpp"
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct freeze_world : pane_world {
  int deaf = 0; ///< So many signals have no answer from now on.

  freeze_world() {
    guest["signal"] = [this](const sandbox::command&) -> result<command_result> {
      if (deaf-- > 0) return make_error(errc::timed_out);
      return said("{\"state\":\"signalled\"}\n");
    };
  }
  void freeze(bool frozen) { tell(freeze_a::value, frozen); }
};

} // namespace

TEST_CASE_METHOD(freeze_world,
                 "a freeze or a thaw without an answer is told again until a holder has answered") {
  begin();
  auto frozen = GENERATE(true, false);
  strings told;
  if (!frozen) {
    freeze(true);
    told = {"STOP"};
  }
  deaf = 3;
  freeze(frozen);
  for (auto wait : {2s, 4s, 8s}) {
    told.push_back(frozen ? "STOP" : "CONT");
    CHECK(signals() == told);
    v.advance(wait - 1ms);
    CHECK(signals() == told);
    v.advance(1ms);
  }
  told.push_back(frozen ? "STOP" : "CONT"); // which is answered
  CHECK(signals() == told);
  v.advance(10min);
  CHECK(signals() == told);
}

TEST_CASE_METHOD(freeze_world, "of a freeze and a thaw the later one holds") {
  begin();
  SECTION("the first one is still under way") {
    api->hold(operation::run);
    freeze(true);
    freeze(false);
    CHECK(signals() == strings{"STOP"}); // two at a time could arrive in the other order
    api->release(operation::run);
    v.run();
  }
  SECTION("the first one had no answer") {
    deaf = 1;
    freeze(true);
    freeze(false);
  }
  CHECK(signals() == strings{"STOP", "CONT"});
  v.advance(10min);
  CHECK(signals() == strings{"STOP", "CONT"});
}

TEST_CASE_METHOD(freeze_world, "only an agent that may stand still is told to go on") {
  SECTION("one that was just started does not") {
    begin();
    freeze(false);
    CHECK(signals().empty());
  }
  SECTION("one that was found running may") {
    rec.state = pane_phase::running;
    rec.attempt = 1;
    begin();
    freeze(false);
    CHECK(signals() == strings{"CONT"});
  }
  SECTION("the next attempt of one that did does not") {
    spec->pane_restarts = 1;
    begin();
    deaf = 1;
    freeze(true);
    exit(3);
    v.advance(10min);
    REQUIRE(starts() == strings{"1", "2"});
    freeze(false);
    CHECK(signals() == strings{"STOP"});
  }
}

TEST_CASE_METHOD(freeze_world, "an agent that ends, or whose sandbox is gone, is not told again") {
  begin();
  strings told{"STOP"};
  SECTION("it has ended") {
    deaf = 1000;
    freeze(true);
    exit(0);
  }
  SECTION("it is stopped, which lets it go on first") {
    deaf = 1000;
    freeze(true);
    tell(stop_a::value, stop_mode::graceful);
    v.advance(9s);
    exit(130);
    told.push_back("INT");
  }
  SECTION("its sandbox is gone") {
    api->boxes.clear();
    freeze(true);
  }
  v.advance(10min);
  CHECK(signals() == told);
}

TEST_CASE_METHOD(sandbox_world, "agents that are found running are told what holds, frozen or not, "
                                "for their former daemon may not have told it") {
  auto frozen = GENERATE(true, false);
  recorded(phase::running);
  start.record.frozen = frozen;
  start.panes[0].state = pane_phase::running;
  start.panes[0].attempt = 1;
  begin();
  CHECK(signals() == strings{frozen ? "STOP" : "CONT"});
  advance(1min);
  CHECK(signals().size() == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world,
                 "of a freeze and a thaw that come at the same time the later one is "
                 "on record, too") {
  begin();
  caf::anon_send(ctx->keeper(), freeze_a::value, true);
  caf::anon_send(ctx->keeper(), freeze_a::value, false);
  settle();
  auto facts = all<sandbox_frozen>();
  REQUIRE(facts.size() == 2);
  CHECK(facts[0].frozen);
  CHECK_FALSE(facts[1].frozen);
  CHECK(signals() == strings{"STOP", "CONT"});
  exit("pn_0");
  CHECK(ending() == "completed");
}
