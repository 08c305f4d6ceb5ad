// Scripts of the SAFETY desk in the whole tree: freeze, panic, and who survives it; and the end of
// the daemon that ends its swarms.
#include "actors/shutdown.hpp"
#include "actors/swarm.hpp"

#include "tests/actors/nearly_full.hpp"
#include "tests/actors/tree_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct panic_world : tree_world {
  panic_world() { start(); }

  selection of(const swarm_id& id) {
    selection s;
    s.swarm = id;
    return s;
  }
  static selection everything() {
    selection s;
    s.all = true;
    return s;
  }
  survivors_reply survivors(const selection& s, bool end = false, strings providers = {"local"}) {
    auto reply = post(survivors_request{s, std::move(providers), end});
    settle();
    auto r = read<survivors_reply>(reply);
    if (!r) FAIL(render(r.err()));
    return *r;
  }
  std::size_t signals(const std::string& name) const {
    std::size_t n = 0;
    for (const auto& c : api->calls)
      n += c.what.find(" --signal " + name) != std::string::npos;
    return n;
  }
};

} // namespace

TEST_CASE_METHOD(panic_world, "panic kills what is meant, nothing else, and collects nothing") {
  spec->sandboxes = 2;
  auto one = run();
  auto other = run();
  auto reply = call(panic_request{of(one)}, "key");
  REQUIRE(reply);
  CHECK(reply->sandboxes == 2);
  CHECK(reply->providers == strings{"local"});
  advance(1s);
  CHECK(ending(one) == "closed killed");
  CHECK(states(other) == strings(2, "running"));
  CHECK(api->boxes.size() == 2);
  CHECK(guest_calls("diff") == 0);
  CHECK(survivors(of(one)).listed == 0);
  CHECK(survivors(of(other)).listed == 2);
  // The same command again is the same answer, and nothing is killed twice.
  auto kills = api->count(operation::kill);
  REQUIRE(call(panic_request{of(one)}, "key"));
  CHECK(api->count(operation::kill) == kills);
  CHECK(count("daemon.panic") == 1);
  finish();
}

TEST_CASE_METHOD(panic_world, "the wish is on disk before anything is killed") {
  run();
  REQUIRE(call(panic_request{everything()}));
  advance(1s);
  auto names = events();
  auto wish = std::find(names.begin(), names.end(), "daemon.panic");
  REQUIRE(wish != names.end());
  CHECK(wish < std::find(names.begin(), names.end(), "sandbox.kill_intended"));
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(panic_world, "panic kills on a nearly full disk, too, and is answered") {
  spec->sandboxes = 2;
  auto id = run();
  SECTION("it takes facts") {
    log->refuse = nearly_full;
  }
  SECTION("it takes all but what the panic itself writes") {
    log->refuse = [](const chunk& c) {
      return c.swarm.empty() ? make_error(errc::disk_full) : error{};
    };
  }
  auto reply = call(panic_request{of(id)}, "key");
  REQUIRE(reply);
  CHECK(reply->sandboxes == 2);
  CHECK(reply->providers == strings{"local"});
  advance(1s);
  CHECK(api->boxes.empty());
  CHECK(ending(id) == "closed killed");
  CHECK(count("daemon.panic") == 0);
  CHECK(count("sandbox.kill_intended") == 2); // those are facts
  log->refuse = nullptr;
  finish();
}

TEST_CASE_METHOD(panic_world, "panic for one sandbox leaves the others of its swarm") {
  spec->sandboxes = 2;
  auto id = run();
  selection s;
  s.sandbox = sandboxes(id)[0].sandbox;
  REQUIRE(call(panic_request{s}));
  advance(1s);
  CHECK(states(id) == strings{"closed killed", "running"});
  CHECK(survivors(s).listed == 0);
  finish();
}

TEST_CASE_METHOD(panic_world, "panic ends sandboxes that were kept after their run") {
  spec->keep = true;
  auto id = run();
  agents_end(only_sandbox(id));
  REQUIRE(ending(id) == "closed completed");
  REQUIRE(api->boxes.size() == 1);
  REQUIRE(call(panic_request{everything()}));
  advance(1s);
  CHECK(api->boxes.empty());
  CHECK(survivors(everything()).listed == 0);
  finish();
}

TEST_CASE_METHOD(panic_world, "panic for a kept sandbox ends it alone, while its run goes on") {
  spec->keep = true;
  spec->sandboxes = 2;
  auto id = run();
  agents_end(sandboxes(id)[0]);
  REQUIRE(states(id) == strings{"closed completed", "running"});
  REQUIRE(only_sandbox(id).kept);
  selection s;
  s.sandbox = only_sandbox(id).sandbox;
  REQUIRE(call(panic_request{s}));
  advance(1s);
  CHECK(only_sandbox(id).kill_confirmed);
  CHECK(survivors(s).listed == 0);
  CHECK(states(id) == strings{"closed completed", "running"});
  CHECK(api->boxes.size() == 1);
  CHECK(swarm(id).state == swarm_phase::running);
  finish();
}

TEST_CASE_METHOD(panic_world, "the question for survivors waits for nothing that is packed") {
  part_pools();
  auto id = run();
  work_hangs = true;
  auto left = survivors(of(id));
  CHECK(left.listed == 1);
  CHECK(left.ids == strings{only_sandbox(id).remote_id});
  work_hangs = false;
  finish();
}

TEST_CASE_METHOD(panic_world, "a survivor is counted until it is gone, and killed again") {
  auto id = run();
  auto remote = only_sandbox(id).remote_id;
  for (int i = 0; i < 50; ++i)
    api->fail(operation::kill, make_error(errc::network));
  REQUIRE(call(panic_request{of(id)}));
  advance(1s);
  auto left = survivors(of(id));
  CHECK(left.listed == 1);
  CHECK(left.ids == strings{remote});
  for (int i = 0; i < 60 && survivors(of(id), true).listed > 0; ++i)
    advance(1s);
  CHECK(survivors(of(id)).listed == 0);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(
    panic_world,
    "the kill of a survivor is on disk before the provider hears of it, and only once") {
  REQUIRE(call(panic_request{everything()}));
  run(); // came up behind the panic's back
  auto& orphan = api->boxes["nobody knows it"].info;
  orphan.remote_id = "nobody knows it";
  orphan.metadata = {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}};
  strings on_disk; // at each kill
  api->turn_down = [&](operation op, const std::string&) {
    if (op == operation::kill)
      on_disk.push_back(std::to_string(count("sandbox.kill_intended")) + " intent, "
                        + std::to_string(count("survivor_kill_intended")) + " notice");
    return error{};
  };
  for (int i = 0; i < 2; ++i)
    api->fail(operation::kill, make_error(errc::network));
  CHECK(survivors(everything()).listed == 2);
  CHECK(on_disk.empty());
  CHECK(survivors(everything(), true).listed == 2);
  CHECK(on_disk == strings(2, "1 intent, 1 notice"));
  CHECK(api->boxes.size() == 2);
  CHECK(survivors(everything(), true).listed == 2);
  CHECK(on_disk == strings(4, "1 intent, 1 notice"));
  CHECK(survivors(everything()).listed == 0);
  for (const auto& n : all<notice>())
    if (n.code == "survivor_kill_intended") CHECK(n.text.starts_with("nobody knows it at local "));
  finish();
}

TEST_CASE_METHOD(panic_world, "a survivor whose end cannot be written down is not killed") {
  REQUIRE(call(panic_request{everything()}));
  auto& orphan = api->boxes["nobody knows it"].info;
  orphan.remote_id = "nobody knows it";
  orphan.metadata = {{"skep.install", "in_1"}, {"skep.sandbox", "sb_gone"}};
  auto why = errc::io;
  log->refuse = [&](const chunk&) { return make_error(why); };
  CHECK(survivors(everything(), true).listed == 1);
  CHECK(api->boxes.size() == 1);
  why = errc::disk_full; // keeps nothing alive that costs money
  CHECK(survivors(everything(), true).listed == 1);
  CHECK(api->boxes.empty());
  log->refuse = nullptr;
  finish();
}

TEST_CASE_METHOD(panic_world, "what no list shows and a GET finds is a survivor, too") {
  auto id = run();
  auto remote = only_sandbox(id).remote_id;
  auto labels = std::exchange(api->boxes.at(remote).info.metadata, {}); // a list that forgets it
  auto left = survivors(of(id));
  CHECK(left.listed == 0);
  CHECK(left.unlisted == 1);
  CHECK(left.ids == strings{remote});
  finish();
}

TEST_CASE_METHOD(panic_world, "a provider that does not answer is named, not counted as empty") {
  auto id = run();
  api->fail(operation::list, make_error(errc::network));
  auto refused = survivors(of(id));
  REQUIRE(refused.unanswered.size() == 1);
  CHECK(refused.unanswered[0].starts_with("local: network"));
  api->hold(operation::list);
  auto reply = post(survivors_request{of(id), {"local"}, false});
  advance(19s);
  CHECK_FALSE(reply->has_value());
  advance(2s);
  auto late = read<survivors_reply>(reply);
  REQUIRE(late);
  CHECK(late->unanswered == strings{"local: no answer yet"});
  api->release(operation::list);
  finish();
}

TEST_CASE_METHOD(panic_world, "survivors are killed only where a panic was asked for") {
  auto id = run();
  auto reply = call(survivors_request{of(id), {"local"}, true});
  REQUIRE_FALSE(reply);
  CHECK(reply.err().code == errc::wrong_phase);
  CHECK(api->boxes.size() == 1);
  CHECK(call(panic_request{{}}).err().code == errc::bad_argument);
  finish();
}

TEST_CASE_METHOD(panic_world, "panic on a thousand sandboxes leaves none") {
  spec->sandboxes = 1000;
  auto id = run();
  REQUIRE(api->boxes.size() == 1000);
  REQUIRE(call(panic_request{everything()}));
  advance(2s);
  CHECK(api->boxes.empty());
  CHECK(survivors(everything()).listed == 0);
  CHECK(ending(id) == "closed killed");
  finish();
}

// ---- freeze -----------------------------------------------------------------------------------

TEST_CASE_METHOD(panic_world, "freeze stops the agents of what is meant, thaw lets them go on") {
  spec->panes = 2;
  auto id = run();
  auto other = run();
  auto reply = call(freeze_request{of(id), true});
  REQUIRE(reply);
  CHECK(reply->sandboxes == std::vector<sandbox_id>{only_sandbox(id).sandbox});
  CHECK(signals("STOP") == 2);
  CHECK(only_sandbox(id).frozen);
  CHECK_FALSE(only_sandbox(other).frozen);
  REQUIRE(call(freeze_request{of(id), true})); // told again, not recorded again
  CHECK(count("sandbox.frozen") == 1);
  REQUIRE(call(freeze_request{of(id), false}));
  CHECK(signals("CONT") == 2);
  CHECK_FALSE(only_sandbox(id).frozen);
  CHECK(states(id) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(panic_world, "a frozen sandbox stays so over a restart, and is not idle") {
  spec->idle_limit_ms = 60'000;
  auto id = run();
  REQUIRE(call(freeze_request{of(id), true}));
  auto before = signals("STOP");
  stop();
  start();
  settle();
  CHECK(only_sandbox(id).frozen);
  CHECK(signals("STOP") == before + 1); // whatever was started meanwhile is stopped, too
  advance(10min);
  CHECK(count("pane.idle") == 0);
  REQUIRE(call(freeze_request{of(id), false}));
  advance(59s);
  CHECK(count("pane.idle") == 0);
  advance(15s);
  CHECK(count("pane.idle") == 1);
  finish();
}

TEST_CASE_METHOD(panic_world, "what does not run cannot be frozen") {
  CHECK(call(freeze_request{everything(), true}).err().code == errc::not_found);
  auto id = run();
  REQUIRE(call(stop_request{id, false}));
  CHECK(call(freeze_request{of(id), true}).err().code == errc::wrong_phase);
  finish();
}

// ---- the end of the daemon --------------------------------------------------------------------

TEST_CASE_METHOD(panic_world, "a daemon that ends its swarms interrupts, collects, and kills") {
  spec->sandboxes = 2;
  auto id = run();
  auto rows = sandboxes(id);
  ask_all_to_end(*registry, stop_mode::shutdown);
  ask_all_to_end(*registry, stop_mode::shutdown); // twice is once
  settle();
  CHECK(call(run_request{*spec}).err().code == errc::shutting_down);
  CHECK(signals("INT") == 2);
  agents_end(rows[0], 130);
  advance(4s); // 5 s after the interrupt the other one is killed
  CHECK(signals("KILL") == 1);
  CHECK(states(id)[0] == "closed cancelled");
  advance(3s); // and 2 s later it is given up
  CHECK(count("agent_unresponsive") == 1);
  CHECK(ending(id) == "closed cancelled");
  CHECK(guest_calls("diff") == 2);
  CHECK(api->boxes.empty());
  CHECK(registry->size() == 0);
  finish();
}

TEST_CASE_METHOD(panic_world, "a daemon that ends everything ends what was kept before, too") {
  spec->keep = true;
  auto closed = run();
  agents_end(only_sandbox(closed));
  spec->sandboxes = 2;
  auto open = run();
  agents_end(sandboxes(open)[0]);
  REQUIRE(ending(closed) == "closed completed");
  REQUIRE(states(open) == strings{"closed completed", "running"});
  REQUIRE(api->boxes.size() == 3);
  unled_ending rest{*svc, *registry};
  ask_all_to_end(*registry, stop_mode::shutdown);
  CHECK(rest.go_on(0ms));
  CHECK(rest.go_on(10ms)); // not on disk yet: not said again
  advance(250ms);
  CHECK(count("sandbox.kill_intended") == 2);
  CHECK(rest.go_on(300ms));
  advance(250ms);
  CHECK_FALSE(rest.go_on(600ms));
  CHECK(rest.who_is_left().empty());
  CHECK(only_sandbox(closed).kill_confirmed);
  CHECK(only_sandbox(open).kill_confirmed);
  CHECK(count("sandbox.kill_intended") == 2);
  CHECK(api->boxes.size() == 1);
  agents_end(sandboxes(open)[1], 130); // the run itself is asked to end
  CHECK(ending(open) == "closed cancelled");
  CHECK(api->boxes.empty());
  CHECK(registry->size() == 0);
  CHECK_FALSE(rest.go_on(2s));
  finish();
}

TEST_CASE_METHOD(panic_world, "a kept sandbox that its provider does not end is asked for again "
                              "and named") {
  spec->keep = true;
  auto id = run();
  agents_end(only_sandbox(id));
  auto s = only_sandbox(id);
  REQUIRE(s.kept);
  api->turn_down = [](operation op, const std::string&) {
    return op == operation::kill ? make_error(errc::network) : error{};
  };
  unled_ending rest{*svc, *registry};
  CHECK(rest.go_on(0ms));
  advance(250ms);
  CHECK(rest.go_on(250ms));
  advance(250ms);
  CHECK(api->count(operation::kill) == 1);
  CHECK(rest.go_on(4s));
  advance(250ms);
  CHECK(api->count(operation::kill) == 1);
  CHECK(rest.go_on(5250ms));
  advance(250ms);
  CHECK(api->count(operation::kill) == 2);
  CHECK(rest.go_on(5500ms));
  CHECK(rest.who_is_left() == strings{id.value + " " + s.sandbox.value + ": kept"});
  CHECK(count("sandbox.kill_intended") == 1);
  SECTION("its provider answers") {
    api->turn_down = nullptr;
    CHECK(rest.go_on(10500ms));
    advance(250ms);
    CHECK_FALSE(rest.go_on(11s));
    CHECK(rest.who_is_left().empty());
    CHECK(api->boxes.empty());
  }
  SECTION("nobody can ask its provider any more, and its lease is over") {
    svc->knows_provider = [](const std::string&) { return false; };
    CHECK(rest.go_on(6s));
    wall_jump = s.lease_end_at - svc->wall_now();
    CHECK_FALSE(rest.go_on(7s));
    CHECK(rest.who_is_left().empty());
    api->turn_down = nullptr;
  }
  finish();
}

TEST_CASE_METHOD(panic_world, "a daemon that ends everything ends runs that nobody leads") {
  auto id = run();
  stop();
  lose_specs();
  start();
  REQUIRE(registry->unreadable(id));
  unled_ending rest{*svc, *registry};
  CHECK(rest.go_on(0ms));
  CHECK(rest.who_is_left() == strings{id.value + " " + only_sandbox(id).sandbox.value});
  advance(250ms);
  CHECK_FALSE(rest.go_on(300ms));
  CHECK(ending(id) == "closed killed");
  CHECK(only_sandbox(id).kill_confirmed);
  CHECK(api->boxes.empty());
  CHECK(registry->unreadable().empty());
  finish();
}

TEST_CASE_METHOD(panic_world, "with --keep no sandbox is kept by the daemon after one that was "
                              "killed while it ended everything") {
  spec->keep = true;
  auto id = run();
  ask_all_to_end(*registry, stop_mode::shutdown);
  settle();
  REQUIRE(swarm(id).stop_reason == "the daemon ends");
  REQUIRE(only_sandbox(id).state != phase::closed);
  stop();
  registry->ending(false); // as in a new process
  SECTION("its provider answers") {
    start();
  }
  SECTION("its provider is away at first") {
    auto real = svc->provider;
    svc->provider = [](const std::string&) -> result<std::shared_ptr<sandbox::api>> {
      return make_error(errc::network);
    };
    start();
    advance(6s);
    CHECK(only_sandbox(id).state != phase::closed);
    CHECK(count("sandbox.kill_intended") == 0);
    svc->provider = real;
    advance(6s);
  }
  agents_end(only_sandbox(id), 130);
  advance(10s);
  CHECK(ending(id) == "closed cancelled");
  CHECK(guest_calls("diff") == 1);
  CHECK_FALSE(only_sandbox(id).kept);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(panic_world, "agents have the whole graces of a stop where a daemon goes on with "
                              "the end that a former one had begun") {
  auto id = run();
  ask_all_to_end(*registry, stop_mode::shutdown);
  settle();
  REQUIRE(swarm(id).stop_reason == "the daemon ends");
  stop();
  registry->ending(false); // as in a new process
  REQUIRE(svc->limits.stop_grace == 10s);
  auto told = signals("INT");
  start();
  CHECK(signals("INT") == told + 1);
  advance(9s); // that of the former daemon's end is 5 s
  CHECK(signals("KILL") == 0);
  advance(2s);
  CHECK(signals("KILL") == 1);
  std::string words;
  for (const auto& n : all<notice>())
    if (n.code == "agent_unresponsive") words += n.text;
  CHECK(words.find("within 10 s of its interrupt") != std::string::npos);
  advance(7s); // and there it is 2 s
  CHECK(only_sandbox(id).state == phase::draining);
  advance(5s);
  CHECK(ending(id) == "closed cancelled");
  CHECK(guest_calls("diff") == 1);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(panic_world, "a swarm that is restarted, or was taken up, while its daemon ends "
                              "does not wait for a provider that is out of reach") {
  auto id = run();
  ask_all_to_end(*registry, stop_mode::shutdown);
  settle();
  REQUIRE(swarm(id).stop_reason == "the daemon ends");
  auto real = svc->provider;
  auto away = [](const std::string&) -> result<std::shared_ptr<sandbox::api>> {
    return make_error(errc::network);
  };
  SECTION("its actor died, and nobody has asked it again yet") {
    svc->provider = away;
    crash(path_of(id) + "/swarm");
  }
  SECTION("a former daemon had begun to end it") {
    stop();
    registry->ending(false); // as in a new process
    svc->provider = away;
    start();
    advance(20s);
    CHECK(only_sandbox(id).state != phase::closed); // that daemon has time
    ask_all_to_end(*registry, stop_mode::shutdown);
  }
  advance(8s);
  CHECK(ending(id) == "closed failed");
  CHECK(only_sandbox(id).kill_intended);
  CHECK(registry->size() == 0);
  CHECK(api->boxes.size() == 1);
  svc->provider = real;
  advance(16s); // the REAPER, or that of the next daemon
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(panic_world,
                 "a swarm that comes up while the daemon ends is asked to end as well") {
  auto id = run();
  auto box = only_sandbox(id);
  auto context = registry->find(id);
  auto keeper = context->keeper();
  context->keeper(swarm_actor{}); // as while it is being taken up or restarted
  shutdown_course course{30s};
  auto go_on = [&](std::chrono::milliseconds from, std::chrono::milliseconds until) {
    for (auto t = from; t < until; t += 100ms) {
      if (course.due(t, false) == shutdown_course::step::ask)
        ask_all_to_end(*registry, course.mode());
      advance(100ms);
    }
  };
  ask_all_to_end(*registry, course.mode());
  go_on(0ms, 2s);
  CHECK(signals("INT") == 0);
  context->keeper(keeper);
  go_on(2s, 4s);
  CHECK(signals("INT") == 1); // more than one word changes nothing
  agents_end(box, 130);
  advance(1s);
  CHECK(ending(id) == "closed cancelled");
  CHECK(registry->size() == 0);
  keeper = nullptr;
  context = nullptr;
  finish();
}

TEST_CASE_METHOD(panic_world, "who has not ended is named with its swarm, sandbox and panes") {
  spec->panes = 2;
  auto id = run();
  api->hold(operation::run);
  ask_all_to_end(*registry, stop_mode::shutdown);
  settle();
  auto s = only_sandbox(id);
  CHECK(who_is_left(*svc, *registry) == strings{id.value + " " + s.sandbox.value + ": p0, p1"});
  ask_all_to_end(*registry, stop_mode::kill);
  advance(1s);
  CHECK(who_is_left(*svc, *registry).empty());
  CHECK(ending(id) == "closed killed");
  finish();
}

TEST_CASE("the end of the daemon forces after three quarters of its time and gives up at its end") {
  using step = shutdown_course::step;
  shutdown_course c{30s};
  CHECK(c.due(0s, false) == step::wait);
  CHECK(c.due(999ms, false) == step::wait);
  CHECK(c.due(1s, false) == step::ask); // who was not there is asked again
  CHECK(c.due(1'999ms, false) == step::wait);
  CHECK(c.due(22s, false) == step::ask);
  CHECK(c.mode() == stop_mode::shutdown);
  CHECK(c.due(22'500ms, false) == step::force);
  CHECK(c.mode() == stop_mode::kill);
  CHECK(c.due(23s, false) == step::wait);
  CHECK(c.due(23'500ms, false) == step::ask);
  CHECK(c.due(23'600ms, false) == step::wait);
  CHECK(c.due(30s, false) == step::give_up);
  shutdown_course again{30s};
  CHECK(again.due(1s, true) == step::give_up);
}
