// Scripts of starts that wait: for their turn at the LIMITER, and of those that a former life of
// the daemon had intended and perhaps begun.
#include "tests/actors/pane_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// A LIMITER with one place, which another pane holds.
struct queue_world : pane_world {
  const pane_id other{"pn_other"};

  void one_place(std::uint32_t queue = 10) {
    svc->handles->put_limiter(v.root(spawn_limiter(v.sys, {1, queue})));
    REQUIRE(v.ask<void>(svc->handles->limiter(), admit_a::value, other, sandbox_id{}));
  }
  void other_starts() {
    caf::anon_send(svc->handles->limiter(), release_a::value, other);
    v.run();
  }
  /// A third pane is admitted at once.
  bool place_is_free() {
    return static_cast<bool>(
        v.ask<void>(svc->handles->limiter(), admit_a::value, pane_id{"pn_third"}, sandbox_id{}));
  }
};

/// An agent with a prompt whose start was intended when the daemon died. The guest is as strict as
/// the real one: it starts an attempt once, and not without its prompt.
struct intended_world : queue_world {
  bool runs = false;
  strings prompts; ///< Of agents that were started in this life.

  intended_world() {
    runs_claude();
    rec.state = pane_phase::starting;
    rec.attempt = 1;
    guest["pane"] = [this](const sandbox::command& c) -> result<command_result> {
      if (runs) return said("{\"state\":\"running\",\"pid\":7}\n");
      auto option = std::find(c.argv.begin(), c.argv.end(), "--stdin-file");
      REQUIRE(option != c.argv.end());
      auto prompt = api->boxes["i1"].files.extract(*(option + 1));
      if (prompt.empty()) return said("{\"error\":\"io\",\"message\":\"no prompt\"}\n", 2);
      prompts.push_back(prompt.mapped());
      runs = true;
      return said("{\"state\":\"started\",\"pid\":42}\n");
    };
  }
};

} // namespace

TEST_CASE_METHOD(intended_world, "an agent whose start a former daemon had only intended is given "
                                 "its prompt and started") {
  begin();
  CHECK(prompts == strings{"work"});
  CHECK(starts() == strings{"1"});
  CHECK(events() == strings{"pane.started"});
  CHECK(all<pane_started>().at(0).pid == 42);
  CHECK(up.lines == strings{"ready"});
  CHECK(api->boxes["i1"].files.empty());
}

TEST_CASE_METHOD(intended_world,
                 "an agent that a former daemon had started before it died is found, "
                 "and no second one is started") {
  runs = true;
  SECTION("its prompt is written once more, and taken away again") {}
  SECTION("its prompt cannot be written any more") {
    api->fail(operation::write_file, make_error(errc::disk_full));
  }
  begin();
  CHECK(prompts.empty());
  CHECK(events() == strings{"pane.started"});
  CHECK(all<pane_started>().at(0).pid == 7);
  CHECK(up.lines == strings{"ready"});
  CHECK(signals().empty());
  CHECK(api->boxes["i1"].files.empty());
}

TEST_CASE_METHOD(intended_world,
                 "starts that a former daemon had only intended wait for their turn, "
                 "however long that takes") {
  one_place();
  begin();
  v.advance(2min); // its time for a word begins with its turn
  CHECK(starts().empty());
  CHECK(api->count(operation::write_file) == 0);
  CHECK(up.lines.empty());
  other_starts();
  CHECK(starts() == strings{"1"});
  CHECK(prompts == strings{"work"});
  CHECK(up.lines == strings{"ready"});
  CHECK(place_is_free());
}

TEST_CASE_METHOD(intended_world, "what a former daemon may have started is ended where its pane is "
                                 "closed before anybody could ask") {
  SECTION("a stop comes in the queue") {
    one_place();
    begin();
    tell(stop_a::value, stop_mode::graceful);
    CHECK(up.lines == strings{"closed cancelled"});
    other_starts();
    CHECK(place_is_free());
  }
  SECTION("the queue is full") {
    one_place(0);
    begin();
    CHECK(up.lines == strings{"closed failed queue_full@admission"});
  }
  SECTION("its prompt is never written, and its time is over") {
    api->hold(operation::write_file);
    begin();
    v.advance(30s);
    CHECK(up.lines == strings{"closed failed not_ready@start"});
  }
  SECTION("a stop comes while its prompt is written in vain") {
    api->fail(operation::write_file, make_error(errc::network));
    begin();
    tell(stop_a::value, stop_mode::graceful);
    v.advance(1s);
    CHECK(up.lines == strings{"closed cancelled"});
  }
  CHECK(signals() == strings{"KILL"});
  CHECK(starts().empty());
}

TEST_CASE_METHOD(queue_world, "a pane that is killed in the queue gives up its turn, and holds no "
                              "place afterwards") {
  one_place();
  begin();
  REQUIRE(v.ask<std::uint64_t>(svc->handles->limiter(), position_a::value, rec.pane).value() == 1);
  tell(stop_a::value, stop_mode::kill);
  CHECK(up.lines == strings{"closed killed"});
  auto turn = v.ask<std::uint64_t>(svc->handles->limiter(), position_a::value, rec.pane);
  REQUIRE_FALSE(turn);
  CHECK(from_caf(turn.error()).code == errc::not_found);
  other_starts();
  CHECK(place_is_free());
  CHECK(starts().empty());
  CHECK(signals().empty()); // nothing was launched
}

TEST_CASE_METHOD(queue_world, "a stop in the queue does not wait for the pane's turn") {
  one_place();
  begin();
  tell(stop_a::value, stop_mode::graceful);
  CHECK(up.lines == strings{"closed cancelled"});
  CHECK(signals().empty());
  other_starts();
  CHECK(place_is_free());
  v.advance(2min);
  CHECK(starts().empty());
  CHECK(count("pane.closed") == 1);
}
