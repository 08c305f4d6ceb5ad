// How a run ends for its budget: what is wound down and collected, and what is killed.
#include "tests/actors/budget_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// A chunk that says that a swarm begins to stop.
bool begins_to_stop(const chunk& c) {
  event_reader r{c.body.data};
  while (!r.done()) {
    auto raw = r.next();
    if (!raw) return false;
    auto e = interpret(*raw);
    auto* x = e ? std::get_if<swarm_phase_changed>(&*e) : nullptr;
    if (x && x->to == swarm_phase::stopping) return true;
  }
  return false;
}

} // namespace

TEST_CASE_METHOD(budget_world, "models that pass a cap cost nothing of what was done, whatever the "
                               "cap is of, however long collecting goes on meanwhile") {
  auto scope =
      GENERATE(budget_scope::swarm, budget_scope::day, budget_scope::month, budget_scope::pane);
  INFO(std::string{to_string(scope)});
  rule().usd_per_hour = 0;
  use_a_model();
  polite_agents();
  cap(scope, 1);
  begin();
  auto id = run();
  api->boxes.at(only_sandbox(id).remote_id).spent = {5, 1'200'000, 0, 1000, 100, false};
  advance(13s);
  CHECK_FALSE(interrupted.empty());
  api->hold(operation::download_file);
  agents_end(only_sandbox(id), 130);
  REQUIRE(states(id) == strings{"collecting"});
  advance(30s);
  CHECK(states(id) == strings{"collecting"});
  CHECK(api->boxes.size() == 1);
  api->release(operation::download_file);
  advance(2s);
  CHECK(ending(id) == "closed budget");
  CHECK(tables->panes(id)->at(0).result == outcome::budget);
  CHECK(guest_calls("diff") == 1);
  CHECK(has_results(id));
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(budget_world, "where time costs nothing, what has not ended when the wind-down is "
                               "over is killed") {
  rule().usd_per_hour = 0;
  use_a_model();
  svc->limits.stop_grace = 3600s; // the agent takes no notice, and nobody insists
  cap(GENERATE(budget_scope::swarm, budget_scope::day), 1);
  begin();
  auto id = run();
  api->boxes.at(only_sandbox(id).remote_id).spent = {5, 1'200'000, 0, 1000, 100, false};
  until_it_stops(id);
  advance(58s);
  CHECK(states(id) == strings{"draining"});
  CHECK(api->boxes.size() == 1);
  advance(5s);
  CHECK(ending(id) == "closed budget");
  CHECK(guest_calls("diff") == 0);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(budget_world, "where time costs, models that jump over the wind-down leave 5 s of "
                               "it until the kill") {
  use_a_model();
  polite_agents();
  spec->budget_usd = 3;
  begin();
  auto id = run();
  api->boxes.at(only_sandbox(id).remote_id).spent = {5, 2'950'000, 0, 1000, 100, false};
  until_it_stops(id);
  CHECK(swarm(id).stop_reason == "budget");
  CHECK(api->boxes.size() == 1);
  CHECK_FALSE(interrupted.empty());
  SECTION("the agent ends in time") {
    agents_end(only_sandbox(id), 130);
    CHECK(guest_calls("diff") == 1);
    CHECK(has_results(id));
  }
  SECTION("it does not") {
    advance(4s);
    CHECK(api->boxes.size() == 1);
    advance(3s);
    CHECK(guest_calls("diff") == 0);
    CHECK(charged(id) < 2.95 + 0.15); // what models cost, and the time until then
  }
  CHECK(ending(id) == "closed budget");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(budget_world, "a stop for a budget is said again where the swarm died before it "
                               "was on record") {
  spec->budget_usd = 3; // 300 s of one sandbox
  svc->limits.stop_grace = 3600s;
  polite_agents();
  begin();
  auto id = run();
  advance(230s);
  int refused = 0;
  log->refuse = [&refused](const chunk& c) {
    if (refused > 0 || !begins_to_stop(c)) return error{};
    ++refused;
    return make_error(errc::io);
  };
  advance(45s); // the next wish, the kill, would come 5 s before the cap
  log->refuse = nullptr;
  CHECK(refused == 1);
  CHECK(swarm(id).state == swarm_phase::stopping);
  CHECK(swarm(id).stop_reason == "budget");
  CHECK_FALSE(interrupted.empty());
  CHECK(api->boxes.size() == 1);
  agents_end(only_sandbox(id), 130);
  CHECK(ending(id) == "closed budget");
  CHECK(guest_calls("diff") == 1);
  CHECK(charged(id) < 3);
  finish();
}

TEST_CASE_METHOD(budget_world, "a run that nobody can lead, since its spec cannot be read, is "
                               "killed before it passes a budget, and its place is free") {
  cap(GENERATE(budget_scope::swarm, budget_scope::day), 20);
  auto id = begin_run();
  stop();
  lose_specs();
  start();
  REQUIRE(registry->unreadable(id));
  for (int i = 0; i < 2000 && swarm(id).state == swarm_phase::running; ++i) {
    v.advance(1s);
    settle();
  }
  advance(1s);
  CHECK(ending(id) == "closed budget");
  CHECK(states(id) == strings{"closed budget"});
  CHECK(only_sandbox(id).kill_confirmed);
  CHECK(charged(id) > 19.9);
  CHECK(charged(id) < 20);
  CHECK(api->boxes.empty());
  auto spend = svc->load_spend(svc->wall_now());
  REQUIRE(spend);
  CHECK(spend->placed.empty());
  finish();
}

TEST_CASE_METHOD(budget_world, "of a budget of all runs, a call whose price nobody knows ends the "
                               "run that made it") {
  use_a_model();
  cap(GENERATE(budget_scope::day, budget_scope::month), 50);
  begin();
  auto one = run();
  auto other = run();
  api->boxes.at(only_sandbox(one).remote_id).spent = {1, 0, 1, 10, 10, false};
  api->boxes.at(only_sandbox(other).remote_id).spent = {1, 100'000, 0, 10, 10, false};
  advance(12s);
  CHECK(swarm(one).stop_reason == "budget");
  CHECK(swarm(other).state == swarm_phase::running);
  CHECK(states(other) == strings{"running"});
  finish();
}
