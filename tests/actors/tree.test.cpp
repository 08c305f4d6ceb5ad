// Scripts of the TREE: order, who restarts whom, and what a restart leaves alone.
#include "tests/actors/tree_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

const strings left_to_right = {"journal", "recorder", "limiter", "queries", "work", "edge"};

} // namespace

TEST_CASE_METHOD(tree_world,
                 "the tree starts left to right, the edge last, and stops right to left") {
  on_control_start = [this] {
    CHECK(svc->handles->journal());
    CHECK(svc->handles->recorder());
    CHECK(svc->handles->limiter());
    CHECK(svc->handles->queries());
    CHECK(svc->handles->commands());
    CHECK(svc->handles->find("reaper"));
    CHECK(svc->handles->publisher());
  };
  start();
  CHECK(controls_started == 1);
  CHECK(v.ask<strings>(root, ids_a::value).value() == left_to_right);
  auto ended_order = std::make_shared<strings>();
  for (const auto& name : left_to_right)
    caf::actor_cast<caf::actor>(at(name))->attach_functor(
        [ended_order, name](const caf::error&) { ended_order->push_back(name); });
  finish();
  CHECK(*ended_order == strings(left_to_right.rbegin(), left_to_right.rend()));
}

TEST_CASE_METHOD(tree_world, "a dying journal restarts everything below it and stops no pane") {
  start();
  spec->sandboxes = 2;
  spec->panes = 2;
  auto id = run();
  auto rows = sandboxes(id);
  std::map<std::string, caf::actor_addr> before;
  for (const auto& name : left_to_right)
    before[name] = at(name)->address();
  crash("journal");
  advance(5s);
  for (const auto& name : left_to_right) {
    INFO(name);
    REQUIRE(at(name));
    CHECK_FALSE(at(name)->address() == before[name]);
  }
  CHECK(controls_started == 2);
  CHECK(states(id) == strings{"running", "running"});
  CHECK(api->count(operation::kill) == 0);
  CHECK(api->count(operation::create) == 2);
  CHECK(agents_left_alone());
  CHECK(count("pane.started") == 4);
  CHECK(count("pane.exited") == 0);
  CHECK(registry->size() == 1);
  for (const auto& s : rows)
    agents_end(s);
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(tree_world, "a crash of the edge restarts nothing else") {
  start();
  auto id = run();
  auto swarm_before = at(path_of(id) + "/swarm")->address();
  auto journal_before = at("journal")->address();
  auto publisher_before = at("edge/publisher")->address();
  crash("edge/control");
  advance(3s);
  CHECK(controls_started == 2);
  CHECK(at("edge/publisher")->address() == publisher_before);
  for (int i = 0; i < 4; ++i) { // once more than the edge forgives: it is restarted as a whole
    crash("edge/control");
    advance(10s);
  }
  CHECK(at("edge/control"));
  CHECK(at(path_of(id) + "/swarm")->address() == swarm_before);
  CHECK(at("journal")->address() == journal_before);
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(tree_world, "a supervisor gives up after as many restarts as the policy says") {
  svc->limits.supervision.max_restarts = 1;
  CHECK(reported(svc, "root/work").policy.max_restarts == 1);
  start();
  auto before = at("edge/publisher")->address();
  crash("edge/control");
  advance(3s);
  CHECK(at("edge/publisher")->address() == before);
  crash("edge/control");
  advance(10s);
  REQUIRE(at("edge/publisher"));
  CHECK_FALSE(at("edge/publisher")->address() == before); // the edge was restarted as a whole
  finish();
}

TEST_CASE_METHOD(tree_world,
                 "each part takes those to its right along, and runs are taken up again") {
  start();
  auto id = run();
  auto rows = sandboxes(id);
  std::string part =
      GENERATE("recorder", "limiter", "queries", "work/reaper", "work/commands", "work/swarms");
  INFO(part);
  auto journal = at("journal")->address();
  crash(part);
  advance(5s);
  CHECK(at("journal")->address() == journal);
  CHECK(states(id) == strings{"running"});
  CHECK(api->count(operation::create) == 1);
  CHECK(api->count(operation::kill) == 0);
  CHECK(agents_left_alone());
  REQUIRE(call(daemon_stop_request{true})); // somebody answers
  agents_end(rows[0]);
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(tree_world,
                 "a command before the tree is up is refused, and one that came is not lost") {
  auto early = post(run_request{*spec});
  settle();
  CHECK_FALSE(read<run_reply>(early));
  start();
  auto reply = post(run_request{*spec}, "k");
  crash("journal"); // between the command and its intent, or after: the key tells
  advance(10s);
  auto again = call(run_request{*spec}, "k");
  REQUIRE(again);
  advance(2s);
  CHECK(count("swarm.created") == 1);
  if (auto first = read<run_reply>(reply)) CHECK(first->swarm == again->swarm);
  CHECK(states(again->swarm) == strings{"running"});
  agents_end(only_sandbox(again->swarm));
  CHECK(ending(again->swarm) == "closed completed");
  finish();
}

TEST_CASE_METHOD(tree_world, "runs of a former daemon are taken up before the edge opens") {
  start();
  auto id = run();
  auto rows = sandboxes(id);
  stop();
  CHECK(api->boxes.size() == 1);
  on_control_start = [this] { CHECK(registry->size() == 1); };
  start();
  CHECK(states(id) == strings{"running"});
  CHECK(api->count(operation::create) == 1);
  agents_end(rows[0]);
  CHECK(ending(id) == "closed completed");
  finish();
}
