// Budgets in the whole tree: warnings, winding down, the kill, the gateway's count, restarts.
#include "messages/money.hpp"
#include "tests/actors/budget_world.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE_METHOD(budget_world,
                 "a run whose budget ends is warned, wound down and gone before the cap") {
  spec->budget_usd = 3; // 300 s of one sandbox
  polite_agents();
  auto id = begin_run();
  advance(140s);
  CHECK(all<swarm_budget_warned>().empty());
  advance(15s);
  auto warned = all<swarm_budget_warned>();
  REQUIRE(warned.size() == 1);
  CHECK(warned[0].percent == 50);
  CHECK(warned[0].limit_usd == 3);
  CHECK(warned[0].spent_usd >= 1.5);
  CHECK(warned[0].spent_usd < 1.55);
  CHECK(warned[0].text
        == "50 % of the budget of the run ($3.00) is spent, " + money_text(warned[0].spent_usd)
               + " so far");
  CHECK(states(id) == strings{"running"});
  advance(82s); // 60 s before the cap it begins to stop
  CHECK(states(id) == strings{"running"});
  advance(10s);
  CHECK(swarm(id).state == swarm_phase::stopping);
  CHECK(swarm(id).stop_reason == "budget");
  CHECK_FALSE(interrupted.empty());
  CHECK(all<swarm_budget_warned>().size() == 2);
  CHECK(all<swarm_budget_warned>().at(1).percent == 80);
  agents_end(only_sandbox(id), 130);
  CHECK(ending(id) == "closed budget");
  CHECK(swarm(id).error_code == "budget_spent");
  CHECK(states(id) == strings{"closed budget"});
  CHECK(tables->panes(id)->at(0).result == outcome::budget);
  CHECK(api->boxes.empty());
  CHECK(charged(id) < 3);
  CHECK(swarm(id).cost_usd == charged(id));
  CHECK(swarm(id).time_cost_usd == charged(id));
  CHECK(all<swarm_closed>().at(0).cost_usd == charged(id));
  finish();
}

TEST_CASE_METHOD(budget_world, "what does not stop by itself is killed before the cap is passed") {
  spec->budget_usd = 3;
  long_grace(); // the agent takes no notice, and nobody insists
  auto id = begin_run();
  advance(290s);
  CHECK(swarm(id).state == swarm_phase::stopping);
  CHECK(api->boxes.size() == 1);
  advance(10s);
  CHECK(api->boxes.empty());
  CHECK(ending(id) == "closed budget");
  CHECK(charged(id) <= 3 + 5 * 0.01); // 5 s of the burn rate
  CHECK(charged(id) > 2.9);
  finish();
}

TEST_CASE_METHOD(budget_world, "the shortest wind-down brings back what was done, also of an agent "
                               "that takes no notice of its interrupt") {
  spec->budget_usd = 3; // 300 s of one sandbox
  svc->limits.budget_wind_down = least_wind_down(svc->limits);
  bool listens = true;
  SECTION("it ends at once") {}
  SECTION("it is killed after its grace") {
    listens = false;
  }
  polite_agents();
  auto id = begin_run();
  advance(272s);
  CHECK(states(id) == strings{"running"});
  until_it_stops(id);
  if (!listens) advance(svc->limits.stop_grace + 1s);
  CHECK(api->boxes.size() == 1);
  agents_end(only_sandbox(id), listens ? 130 : 137);
  CHECK(ending(id) == "closed budget");
  CHECK(guest_calls("diff") == 1);
  CHECK(has_results(id));
  CHECK(api->boxes.empty());
  CHECK(charged(id) < 3);
  finish();
}

TEST_CASE_METHOD(budget_world,
                 "a clock that is set forward neither warns of a budget nor ends it, and the "
                 "budget holds all the same") {
  spec->budget_usd = 3; // 300 s of one sandbox
  polite_agents();
  slew_the_clock();
  auto id = begin_run();
  advance(100s);
  wall_jump = 3h;
  advance(40s); // 142 s by the daemon's clock
  CHECK(all<swarm_budget_warned>().empty());
  CHECK(states(id) == strings{"running"});
  advance(85s); // 231 s
  CHECK(all<swarm_budget_warned>().size() == 1);
  CHECK(states(id) == strings{"running"});
  advance(15s); // 247 s: 60 s before the cap it begins to stop
  CHECK(swarm(id).state == swarm_phase::stopping);
  CHECK(swarm(id).stop_reason == "budget");
  CHECK_FALSE(interrupted.empty());
  agents_end(only_sandbox(id), 130); // and what it did is collected
  CHECK(ending(id) == "closed budget");
  CHECK(guest_calls("diff") == 1);
  CHECK(charged(id) < 3);
  finish();
}

TEST_CASE_METHOD(budget_world, "a clock that is set back prolongs no budget") {
  spec->budget_usd = 3;
  polite_agents();
  slew_the_clock();
  auto id = begin_run();
  advance(100s);
  wall_jump = -3h;
  advance(60s); // 157 s by the daemon's clock
  CHECK(all<swarm_budget_warned>().size() == 1);
  advance(80s); // 233 s
  CHECK(states(id) == strings{"running"});
  advance(15s); // 247 s
  CHECK(swarm(id).state == swarm_phase::stopping);
  CHECK(swarm(id).stop_reason == "budget");
  agents_end(only_sandbox(id), 130);
  CHECK(ending(id) == "closed budget");
  CHECK(charged(id) < 3);
  CHECK(charged(id) > 2.3); // what it ran, and not what the system's clock made of it
  finish();
}

TEST_CASE_METHOD(budget_world, "the budget counts all sandboxes of the run together") {
  spec->budget_usd = 6;
  spec->sandboxes = 3;
  long_grace();
  auto id = begin_run();
  advance(135s); // 3 cents a second
  CHECK(swarm(id).state == swarm_phase::running);
  advance(10s); // 200 s - 60 s
  CHECK(swarm(id).state == swarm_phase::stopping);
  advance(60s);
  CHECK(ending(id) == "closed budget");
  CHECK(api->boxes.empty());
  CHECK(charged(id) <= 6 + 5 * 0.03);
  finish();
}

TEST_CASE_METHOD(budget_world, "a warning is given once, also over a restart of the daemon") {
  spec->budget_usd = 30;
  auto id = begin_run();
  advance(1505s);
  CHECK(all<swarm_budget_warned>().size() == 1);
  stop(); // which takes 10 min of the virtual clock
  start();
  advance(30s);
  CHECK(all<swarm_budget_warned>().size() == 1);
  advance(300s);
  CHECK(all<swarm_budget_warned>().size() == 2);
  CHECK(swarm(id).state == swarm_phase::running);
  finish();
}

TEST_CASE_METHOD(budget_world, "time that passed while the daemon was away is charged") {
  spec->budget_usd = 3;
  long_grace();
  auto id = begin_run();
  stop();
  v.advance(297s);
  start();
  advance(5s);
  CHECK(ending(id) == "closed budget");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(budget_world,
                 "a run that winds down for its budget goes on doing so after a restart") {
  spec->budget_usd = 3;
  long_grace();
  auto id = begin_run();
  advance(250s);
  CHECK(swarm(id).state == swarm_phase::stopping);
  stop();
  start();
  settle();
  advance(60s);
  CHECK(ending(id) == "closed budget");
  finish();
}

TEST_CASE_METHOD(budget_world,
                 "the budget of a day refuses new runs and ends those that are there") {
  rules.day_usd = 4;
  long_grace();
  auto id = begin_run();
  advance(345s); // 3.4 of 4 dollars; a run needs 1.2 free
  auto refused = call(run_request{*spec});
  REQUIRE_FALSE(refused);
  CHECK(refused.err().code == errc::budget_spent);
  CHECK(info(refused.err().code).exit_code == 80);
  CHECK(refused.err().message.find("day") != std::string::npos);
  CHECK(all<budget_warned>().size() == 2);
  auto first = all<budget_warned>().at(0);
  CHECK(first.scope == budget_scope::day);
  CHECK(first.text
        == "50 % of the budget of the day " + first.period + " ($4.00) is spent, "
               + money_text(first.spent_usd) + " so far");
  CHECK(swarm(id).state == swarm_phase::stopping);
  advance(60s);
  CHECK(ending(id) == "closed budget");
  CHECK(budget(budget_scope::day).spent_usd <= 4 + 0.05);
  CHECK(budget(budget_scope::day).set_by == "skep.toml");
  v.advance(24h); // another day
  CHECK(budget(budget_scope::day).spent_usd == 0);
  CHECK(budget(budget_scope::month).spent_usd > 3);
  auto next = run();
  CHECK(states(next) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(budget_world, "the budget of a month holds over days and is set by a command") {
  auto one = begin_run();
  advance(100s);
  agents_end(only_sandbox(one));
  CHECK(ending(one) == "closed completed");
  v.advance(24h);
  REQUIRE(call(budget_set_request{budget_scope::month, 2}));
  CHECK(call(run_request{*spec}).err().code == errc::budget_spent); // 1 and 1.2 are more than 2
  stop();
  start();
  CHECK(budget(budget_scope::month).limit_usd == 2); // it outlives the daemon
  CHECK(budget(budget_scope::month).set_by == "command");
  CHECK(call(run_request{*spec}).err().code == errc::budget_spent);
  REQUIRE(call(budget_set_request{budget_scope::month, -1}));
  auto two = run();
  CHECK(states(two) == strings{"running"});
  CHECK(call(budget_set_request{budget_scope::swarm, 2}).err().code == errc::bad_argument);
  CHECK(call(budget_set_request{budget_scope::day, 2e6}).err().code == errc::out_of_range);
  finish();
}

TEST_CASE_METHOD(budget_world,
                 "the price of a sandbox stays what it was when the setting changes") {
  auto id = begin_run();
  stop();
  rule().usd_per_hour = 3600;
  begin();
  settle();
  advance(99s);
  agents_end(only_sandbox(id));
  CHECK(only_sandbox(id).usd_per_hour == 36);
  CHECK(swarm(id).cost_usd < 7.1); // 700 s, of which stopping the daemon took 600
  CHECK(swarm(id).cost_usd > 6.9);
  finish();
}

TEST_CASE_METHOD(budget_world, "a sandbox that is kept costs on and ends with its budget") {
  spec->budget_usd = 3;
  spec->keep = true;
  auto id = begin_run();
  advance(50s);
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  CHECK(api->boxes.size() == 1);
  advance(150s);
  CHECK(api->boxes.size() == 1);
  advance(60s); // 60 s before the cap
  CHECK(api->boxes.empty());
  CHECK(swarm(id).cost_usd < 3);
  finish();
}

TEST_CASE_METHOD(budget_world, "the gateway's count is the cost of models, and bounds them") {
  only_models_cost();
  spec->budget_usd = 1;
  auto id = begin_run();
  REQUIRE(states(id) == strings{"running"});
  auto& box = box_of(id);
  CHECK(box.allowance == 1'000'000u); // before an agent is there
  box.spent = {3, 400'000, 0, 1000, 100, false};
  advance(6s);
  auto told = all<model_spend>();
  REQUIRE(told.size() == 2);
  CHECK(told[0].calls == 0);
  CHECK(told[1].calls == 3);
  CHECK(told[1].cost_usd == 0.4);
  CHECK(swarm(id).cost_usd == 0.4);
  CHECK(only_sandbox(id).model_cost_usd == 0.4);
  CHECK(tables->panes(id)->at(0).counted);
  CHECK(budget(budget_scope::swarm).model_usd == 0.4);
  advance(20s);
  CHECK(all<model_spend>().size() == 2); // nothing new is nothing to tell
  CHECK(box.allowance == 1'000'000u);    // 0.4 and the 0.6 that are left
  box.spent.calls = 5;
  box.spent.micro_usd = 1'000'000;
  advance(8s);
  CHECK(swarm(id).stop_reason == "budget");
  REQUIRE(states(id) == strings{"draining"}); // it is wound down, although nothing is left
  agents_end(only_sandbox(id), 130);
  CHECK(ending(id) == "closed budget");
  CHECK(swarm(id).error_code == "budget_spent");
  CHECK(guest_calls("diff") == 1);
  CHECK(has_results(id));
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(budget_world, "models that spend between two looks are allowed no more for it") {
  only_models_cost();
  spec->budget_usd = 1;
  auto id = begin_run();
  auto& box = box_of(id);
  for (std::uint64_t calls = 1; calls <= 90; ++calls) {
    box.spent = {calls, calls * 10'000, 0, 1000, 100, false};
    advance(300ms);
    REQUIRE(box.allowance.has_value());
    CHECK(*box.allowance <= 1'000'000u);
  }
  CHECK(states(id) == strings{"running"});
  CHECK(swarm(id).cost_usd > 0.8);
  finish();
}

TEST_CASE_METHOD(budget_world, "a budget that is taken out of the settings while no daemon runs "
                               "leaves no cap at the gateway, and one that stays is never lifted") {
  only_models_cost();
  rules.day_usd = 50;
  auto id = begin_run();
  auto& box = box_of(id);
  REQUIRE(box.allowance == 50'000'000u);
  stop();
  svc->rests = std::make_shared<rest_board>(); // another process has its own
  auto told = api->count(operation::set_allowance);
  SECTION("it is taken out") {
    rules.day_usd.reset();
    begin();
    advance(11s);
    CHECK_FALSE(box.allowance.has_value());
    CHECK(api->count(operation::set_allowance) == told + 1);
    advance(1min); // told once
    CHECK(api->count(operation::set_allowance) == told + 1);
  }
  SECTION("it stays, and for a while nobody can say so") {
    auto busy = std::make_shared<bool>(true);
    svc->load_spend = [busy, usual = svc->load_spend](utc_time at) {
      return *busy ? result<storage::spend_state>{make_error(errc::io)} : usual(at);
    };
    begin();
    advance(20s);
    CHECK(box.allowance == 50'000'000u);
    CHECK(api->count(operation::set_allowance) == told);
    *busy = false;
    advance(10s);
    CHECK(box.allowance == 50'000'000u);
    CHECK(api->count(operation::set_allowance) == told + 1);
  }
  CHECK(states(id) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(budget_world, "a run without a budget asks no gateway for a cap") {
  use_a_model();
  auto id = begin_run();
  advance(20s);
  CHECK(states(id) == strings{"running"});
  CHECK(api->count(operation::set_allowance) == 0);
  finish();
}

TEST_CASE_METHOD(budget_world, "an agent that fails because its models are refused for the budget "
                               "ends as budget, and one that fails otherwise as failed") {
  only_models_cost();
  spec->budget_usd = 1;
  auto refused = GENERATE(false, true);
  auto id = begin_run();
  // No look at the tables finds this cost: only the gateway knows that it refuses.
  box_of(id).spent = {3, 400'000, 0, 1000, 100, refused};
  agents_end(only_sandbox(id), 1);
  advance(1s);
  CHECK(ending(id) == (refused ? "closed budget" : "closed failed"));
  finish();
}

TEST_CASE_METHOD(budget_world, "what agents tell is their word, and counts where nobody counts") {
  only_models_cost();
  api->counts_models = false;
  auto id = begin_run();
  advance(20s);
  CHECK(api->count(operation::get_model_usage) == 1); // asked once
  CHECK_FALSE(tables->panes(id)->at(0).counted);
  finish();
}

TEST_CASE_METHOD(budget_world, "where the gateway has counted no call yet, what an agent says it "
                               "cost counts for nothing and ends nobody's run") {
  only_models_cost();
  rules.day_usd = 20;
  auto id = begin_run();
  auto pane = tables->panes(id)->at(0).pane;
  auto c = std::make_shared<chunk>();
  c->swarm = id;
  c->sandbox = only_sandbox(id).sandbox;
  c->count = 1;
  pack_event(c->body.data, svc->wall_now(), pane_usage{pane, 9e8, 10, 20, 1, ""});
  REQUIRE(v.ask<std::uint64_t>(svc->handles->journal(), append_a::value, c));
  advance(10s);
  CHECK(states(id) == strings{"running"});
  CHECK(swarm(id).cost_usd == 0);
  CHECK(budget(budget_scope::day).model_usd == 0);
  finish();
}

TEST_CASE_METHOD(budget_world, "what models cost until a kill is counted") {
  only_models_cost();
  auto id = begin_run();
  box_of(id).spent = {3, 300'000, 0, 1000, 100, false};
  advance(6s);
  box_of(id).spent.micro_usd = 400'000; // of a call that has not ended
  REQUIRE(call(stop_request{id, true}));
  advance(2s);
  CHECK(api->boxes.empty());
  CHECK(only_sandbox(id).model_cost_usd == 0.4);
  finish();
}

TEST_CASE_METHOD(budget_world,
                 "a provider that has counted and once denies the sandbox is asked on") {
  only_models_cost();
  spec->budget_usd = 1;
  auto id = begin_run();
  auto& box = box_of(id);
  box.spent = {1, 100'000, 0, 1000, 100, false};
  advance(6s);
  REQUIRE(all<model_spend>().size() == 2);
  for (auto code : {errc::not_found, errc::refused}) {
    auto before = api->count(operation::get_model_usage);
    api->fail(operation::get_model_usage, make_error(code));
    advance(20s);
    CHECK(api->count(operation::get_model_usage) > before + 1);
  }
  box.spent = {2, 300'000, 0, 1000, 100, false};
  advance(6s);
  REQUIRE(all<model_spend>().size() == 3);
  CHECK(all<model_spend>().at(2).cost_usd == 0.3);
  CHECK(only_sandbox(id).model_cost_usd == 0.3);
  finish();
}

TEST_CASE_METHOD(budget_world, "a cap without a price is refused by name") {
  use_a_model();
  spec->budget_usd = 5;
  begin();
  svc->counts_models = nullptr;
  auto refused = call(run_request{*spec});
  REQUIRE_FALSE(refused);
  CHECK(refused.err().code == errc::price_unknown);
  CHECK(refused.err().message.find("cloud") != std::string::npos);
  svc->counts_models = [](const std::string&) { return true; };
  spec->env["ANTHROPIC_MODEL"] = "nobody-knows";
  CHECK(call(run_request{*spec}).err().code == errc::price_unknown);
  spec->env["ANTHROPIC_MODEL"] = "known-model";
  auto id = run();
  CHECK(states(id) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(budget_world,
                 "a plan is refused for a budget that is spent and for a cap without a price") {
  rules.month_usd = 30;
  begin();
  auto why = [this] {
    auto plan = call(plan_request{*spec});
    REQUIRE(plan);
    auto taken = call(run_request{*spec});
    REQUIRE_FALSE(taken);
    CHECK(plan->refused.code == taken.err().code);
    CHECK(plan->refused.message == taken.err().message);
    return plan->refused.code;
  };
  REQUIRE(call(budget_set_request{budget_scope::day, 0}));
  settle();
  CHECK(why() == errc::budget_spent);
  REQUIRE(call(budget_set_request{budget_scope::day, -1}));
  settle();
  use_a_model(); // the month has a budget, so that its price must be known
  spec->env["ANTHROPIC_MODEL"] = "nobody-knows";
  CHECK(why() == errc::price_unknown);
  spec->env["ANTHROPIC_MODEL"] = "known-model";
  auto plan = call(plan_request{*spec});
  REQUIRE(plan);
  CHECK_FALSE(plan->refused);
  CHECK(plan->budgets.at(1).limit_usd == 30);
  CHECK(tables->swarms(true)->empty());
  finish();
}

TEST_CASE_METHOD(budget_world, "a call whose price nobody knows ends a run that has a cap") {
  auto scope =
      GENERATE(budget_scope::swarm, budget_scope::day, budget_scope::month, budget_scope::pane);
  INFO(std::string{to_string(scope)});
  use_a_model();
  polite_agents();
  cap(scope, 50);
  auto id = begin_run();
  advance(7s);
  CHECK(interrupted.empty());
  box_of(id).spent = {1, 0, 1, 10, 10, false};
  advance(12s);
  CHECK_FALSE(interrupted.empty());
  CHECK(swarm(id).stop_reason == (scope == budget_scope::pane ? "" : "budget"));
  agents_end(only_sandbox(id), 130);
  CHECK(ending(id) == "closed budget");
  CHECK(tables->panes(id)->at(0).result == outcome::budget);
  CHECK(guest_calls("diff") == 1);
  finish();
}

TEST_CASE_METHOD(budget_world, "a pane whose budget ends is stopped, and the others go on") {
  rule().usd_per_hour = 7.2; // a tenth of a cent a second for each of two panes
  spec->pane_budget_usd = 0.2;
  spec->pane_restarts = 1;
  use_a_model();
  spec->panes = 2;
  auto id = begin_run();
  auto box = only_sandbox(id);
  auto panes = tables->panes(id).value();
  // One agent fails and tells what it has spent; the gateway saw as much. It is started again.
  api->boxes.at(box.remote_id).spent = {1, 150'000, 0, 1, 1, false};
  std::string line = R"({"type":"result","subtype":"error_during_execution","is_error":true,)"
                     R"("total_cost_usd":0.15,"num_turns":1})"
                     "\n";
  std::string frames;
  pack_follow(frames, follow_kind::data, follow_data{panes[0].pane, 1, 0, {line}});
  pack_follow(frames, follow_kind::exit, follow_exit{panes[0].pane, 1, 1, 0, line.size(), {}});
  for (auto i = api->streams.rbegin(); i != api->streams.rend(); ++i)
    if ((*i)->open) {
      (*i)->emit(frames);
      break;
    }
  advance(3s);
  REQUIRE(tables->panes(id)->at(0).attempt == 2);
  CHECK(tables->panes(id)->at(0).cost_usd == 0.15);
  advance(12s);
  auto warned = all<pane_budget_warned>();
  REQUIRE_FALSE(warned.empty());
  for (const auto& w : warned)
    CHECK(w.pane == panes[0].pane);
  CHECK(warned[0].percent == 50);
  CHECK(warned[0].spent_usd > 0.15);
  CHECK(warned[0].text
        == "50 % of the budget of " + panes[0].name + " ($0.20) is spent, "
               + money_text(warned[0].spent_usd) + " so far");
  CHECK(guest_calls("signal") >= 1);
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(tables->panes(id)->at(1).state == pane_phase::running);
  advance(30s); // it takes no notice and is killed
  CHECK(tables->panes(id)->at(0).result == outcome::budget);
  CHECK(tables->panes(id)->at(1).state == pane_phase::running);
  finish();
}
