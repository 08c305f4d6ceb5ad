// Scripts of the SWARM in the whole tree: its sandboxes, its limit, its end.
#include "actors/swarm_results.hpp"
#include "actors/swarm_sandboxes.hpp"
#include "actors/time_limit.hpp"

#include "tests/actors/tree_fixture.hpp"
#include "transfer/swept_dir.hpp"

#include <sys/stat.h>

using namespace skep;
using namespace skep::test;

namespace {

struct swarm_world : tree_world {
  swarm_world() { start(); }
  /// The daemon ends and the next one starts `later` after it.
  void restart(caf::timespan later = 0s) {
    stop();
    v.advance(later);
    start();
    settle();
  }
};

} // namespace

TEST_CASE_METHOD(swarm_world, "a run completes: every sandbox, then the swarm, last of all") {
  spec->sandboxes = 3;
  spec->panes = 2;
  auto id = run();
  CHECK(states(id) == strings(3, "running"));
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(registry->size() == 1);
  for (const auto& s : sandboxes(id)) {
    CHECK(api->boxes.at(s.remote_id).info.metadata.at("skep.swarm") == id.value);
    agents_end(s);
  }
  CHECK(ending(id) == "closed completed");
  CHECK(api->boxes.empty());
  CHECK(api->count(operation::create) == 3);
  auto end = all<swarm_closed>().at(0);
  CHECK(end.panes_completed == 6);
  CHECK(end.panes_failed == 0);
  CHECK_FALSE(end.why);
  auto names = events();
  CHECK(std::find(names.rbegin(), names.rend(), "swarm.closed")
        < std::find(names.rbegin(), names.rend(), "sandbox.closed"));
  CHECK(std::filesystem::exists(tmp.path / "out" / id.value / "summary.json"));
  CHECK_FALSE(std::filesystem::exists(svc->state_dir / "work" / id.value));
  CHECK(registry->size() == 0);
  finish();
}

TEST_CASE_METHOD(swarm_world, "one sandbox fails and the others go on") {
  spec->sandboxes = 3;
  api->fail(operation::create, make_error(errc::auth));
  auto id = run();
  CHECK(states(id) == strings{"closed failed", "running", "running"});
  auto rows = sandboxes(id);
  agents_end(rows[1]);
  CHECK(swarm(id).state == swarm_phase::running);
  agents_end(rows[2]);
  CHECK(ending(id) == "closed failed");
  CHECK(swarm(id).error_code == "auth");
  CHECK(states(id) == strings{"closed failed", "closed completed", "closed completed"});
  CHECK(all<swarm_closed>().at(0).panes_completed == 2);
  finish();
}

TEST_CASE_METHOD(swarm_world,
                 "a repository that cannot be packed ends the run before a sandbox is made") {
  spec->repo = (tmp.path / "nothing-here").string();
  auto id = run();
  CHECK(ending(id) == "closed failed");
  CHECK(sandboxes(id).empty());
  CHECK(api->calls.empty());
  finish();
}

TEST_CASE_METHOD(
    swarm_world,
    "a sandbox supervisor gives up: the kill is journaled and the reaper carries it out") {
  spec->sandboxes = 2;
  auto id = run();
  auto bad = sandboxes(id)[0];
  auto good = sandboxes(id)[1];
  api->fail(operation::kill, make_error(errc::network)); // the reaper's first try
  for (int i = 0; i < 4; ++i) {
    crash(path_of(bad) + "/sandbox");
    CHECK(api->boxes.size() == 2); // restarting an actor ends nothing
    if (i < 3) advance(10s);
  }
  settle();
  auto row = tables->sandbox(bad.sandbox).value();
  CHECK(row.state == phase::closed);
  CHECK(row.result == outcome::failed);
  CHECK(row.kill_intended);
  CHECK(row.error_code == "gave_up");
  CHECK(tables->panes(bad.sandbox)->at(0).state == pane_phase::closed);
  CHECK(count("sandbox.kill_confirmed") == 0);
  advance(16s);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK_FALSE(api->boxes.contains(bad.remote_id));
  CHECK(api->count(operation::create) == 2); // it was not replaced behind the swarm's back
  CHECK(states(id)[1] == "running");
  agents_end(good);
  CHECK(ending(id) == "closed failed");
  finish();
}

TEST_CASE_METHOD(swarm_world,
                 "a swarm whose supervisor gives up is closed, and its sandboxes are ended") {
  spec->sandboxes = 2;
  auto id = run();
  for (int i = 0; i < 4; ++i) {
    crash(path_of(id) + "/swarm");
    if (i < 3) {
      advance(10s);
      CHECK(states(id) == strings{"running", "running"});
    }
  }
  advance(1s);
  CHECK(ending(id) == "closed failed");
  CHECK(swarm(id).error_code == "gave_up");
  CHECK(states(id) == strings{"closed failed", "closed failed"});
  advance(16s);
  CHECK(api->boxes.empty());
  CHECK(registry->size() == 0);
  CHECK(at("work") != nullptr); // nobody above noticed
  finish();
}

TEST_CASE_METHOD(swarm_world,
                 "the end of a swarm that was given up is told again until it is on disk") {
  auto id = run();
  for (int i = 0; i < 4; ++i) {
    if (i == 3) log->refuse = [](const chunk&) { return make_error(errc::disk_full); };
    crash(path_of(id) + "/swarm");
    if (i < 3) advance(10s);
  }
  advance(5s);
  CHECK(ending(id) != "closed failed");
  log->refuse = {};
  advance(2s);
  CHECK(ending(id) == "closed failed");
  CHECK(swarm(id).error_code == "gave_up");
  CHECK(states(id) == strings{"closed failed"});
  CHECK(registry->size() == 0);
  finish();
}

TEST_CASE_METHOD(swarm_world,
                 "a graceful stop interrupts the agents and collects, a kill does not") {
  auto kill = GENERATE(false, true);
  spec->sandboxes = 2;
  auto id = run();
  auto rows = sandboxes(id);
  auto answer = call(stop_request{id, kill});
  REQUIRE(answer);
  CHECK(answer->swarms == std::vector<swarm_id>{id});
  advance(1s);
  if (kill) {
    CHECK(guest_calls("diff") == 0);
    CHECK(ending(id) == "closed killed");
  } else {
    CHECK(swarm(id).state == swarm_phase::stopping);
    CHECK(guest_calls("signal") == 2);
    for (const auto& s : rows)
      agents_end(s, 130);
    CHECK(guest_calls("diff") == 2);
    CHECK(ending(id) == "closed cancelled");
  }
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(swarm_world, "a kill after a stop shortens it, a second stop changes nothing") {
  auto id = run();
  REQUIRE(call(stop_request{id, false}));
  auto head = svc->handles->head_seq();
  REQUIRE(call(stop_request{id, false}));
  CHECK(svc->handles->head_seq() == head);
  REQUIRE(call(stop_request{id, true}));
  advance(1s);
  CHECK(api->boxes.empty());
  CHECK(swarm(id).state == swarm_phase::closed);
  CHECK(count("swarm.phase_changed") == 3); // running, stopping, stopping: kill
  CHECK(ending(id) == "closed killed");
  finish();
}

TEST_CASE_METHOD(swarm_world, "a kill that was answered is a kill for the next daemon too") {
  auto id = run();
  REQUIRE(call(stop_request{id, false}));
  api->fail(operation::kill, make_error(errc::network));
  REQUIRE(call(stop_request{id, true}));
  restart(2s);
  CHECK(ending(id) == "closed killed");
  CHECK(guest_calls("diff") == 0);
  advance(1min);
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(swarm_world, "the hard limit ends a run to the second, without a client") {
  spec->limit_ms = 60'000;
  auto id = run();
  auto rows = sandboxes(id);
  advance(58s);
  CHECK(swarm(id).state == swarm_phase::running);
  advance(4s);
  CHECK(swarm(id).state == swarm_phase::stopping);
  for (const auto& s : rows)
    agents_end(s, 130);
  CHECK(ending(id) == "closed timed_out");
  CHECK(guest_calls("diff") == 1);
  finish();
}

TEST_CASE_METHOD(swarm_world,
                 "a restart of the daemon while the limit ends a run changes no outcome") {
  spec->limit_ms = 60'000;
  auto id = run();
  auto rows = sandboxes(id);
  advance(62s);
  REQUIRE(states(id) == strings{"draining"});
  restart(2s);
  for (const auto& s : rows)
    agents_end(s, 130);
  CHECK(ending(id) == "closed timed_out");
  CHECK(sandboxes(id).at(0).result == outcome::timed_out);
  finish();
}

TEST_CASE_METHOD(
    swarm_world,
    "what a killed daemon left of a run that is over is swept away at the next start") {
  auto id = run();
  auto work = svc->state_dir / "work";
  auto old = work / "sw_ended" / "sb_a" / "tr_x";
  std::filesystem::create_directories(old);
  std::ofstream{old / "worktree.tar"} << "half an archive";
  REQUIRE(std::filesystem::exists(work / id.value));
  restart();
  CHECK_FALSE(std::filesystem::exists(work / "sw_ended"));
  CHECK(std::filesystem::exists(work / id.value)); // its sandboxes go on with it
  finish();
}

TEST_CASE_METHOD(swarm_world,
                 "what a killed daemon left of comparisons and of packs goes at the next start") {
  auto id = run();
  auto compared = svc->state_dir / "work" / "skep-abcdef";
  auto pack = svc->state_dir / "packs" / "0123";
  for (const auto& folder : {compared, pack}) {
    std::filesystem::create_directories(folder);
    std::ofstream{folder / "1"} << "a file of the user's";
  }
  restart();
  CHECK_FALSE(std::filesystem::exists(compared));
  CHECK_FALSE(std::filesystem::exists(pack));
  CHECK(states(id) == strings{"running"});
  finish();
}

TEST_CASE_METHOD(swarm_world, "what a killed skep diff fetched goes at the next start of the "
                              "daemon, and what one that works fetched stays") {
  auto looks = svc->state_dir / "looks";
  auto killed = looks / "look-KILLED";
  std::filesystem::create_directories(killed);
  std::ofstream{killed / "p0.patch"} << "what an agent did";
  REQUIRE(::chmod(killed.c_str(), S_ISVTX | 0700) == 0);
  // Made beside it, since making one sweeps as well.
  auto apart = svc->state_dir / "apart";
  std::filesystem::create_directories(apart);
  auto works = transfer::swept_dir::make(apart.string(), transfer::look_prefix);
  REQUIRE(works.ok());
  auto working = looks / std::filesystem::path{works->path()}.filename();
  std::filesystem::rename(works->path(), working);
  restart();
  CHECK_FALSE(std::filesystem::exists(killed));
  CHECK(std::filesystem::exists(working));
  finish();
}

TEST_CASE_METHOD(swarm_world, "a clock set forward or back ends nothing and prolongs nothing") {
  wall_jump = GENERATE(std::chrono::milliseconds{1h}, std::chrono::milliseconds{-2h});
  auto jump = std::exchange(wall_jump, 0ms);
  spec->limit_ms = 30 * 60'000;
  auto id = run();
  advance(10min);
  wall_jump = jump;
  advance(1min);
  CHECK(swarm(id).state == swarm_phase::running);
  crash(path_of(id) + "/swarm"); // nor does a restart of the actor ask the wall clock again
  advance(18min);
  CHECK(states(id) == strings{"running"});
  CHECK(swarm(id).state == swarm_phase::running);
  advance(2min);
  CHECK(swarm(id).state >= swarm_phase::stopping);
  finish();
}

TEST_CASE_METHOD(swarm_world, "a restart of the daemon goes on with what was left of the limit") {
  spec->limit_ms = 30 * 60'000;
  auto id = run();
  advance(10min);
  restart(5min); // the end of the daemon took another 10 min: nobody was there, the time counts
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(states(id) == strings{"running"});
  advance(4min);
  CHECK(swarm(id).state == swarm_phase::running);
  advance(2min);
  CHECK(swarm(id).state >= swarm_phase::stopping);
  finish();
}

TEST_CASE("the limit keeps at least nothing and at most the whole, whatever wall clocks say") {
  utc_time began{1000s};
  auto left = [&](std::chrono::milliseconds wall_passed) {
    return time_limit{began, 60s, began + wall_passed, 5s}.left(5s);
  };
  CHECK(left(0ms) == 60s);
  CHECK(left(20s) == 40s);
  CHECK(left(-1h) == 60s);
  CHECK(left(1h) == 0s);
  time_limit t{began, 60s, began + 20s, 5s};
  CHECK_FALSE(t.over(44'999ms));
  CHECK(t.over(45s));
}

TEST_CASE_METHOD(swarm_world,
                 "a restarted swarm actor adopts from the tables and repeats nothing") {
  spec->sandboxes = 2;
  spec->panes = 2;
  auto id = run();
  auto rows = sandboxes(id);
  auto child = GENERATE("/swarm", "/sandboxes", "/recorder");
  crash(path_of(id) + child);
  advance(3s);
  CHECK(count("supervisor.child_restarted") == 1);
  CHECK(at(path_of(id) + "/swarm") != nullptr);
  CHECK(states(id) == strings{"running", "running"});
  CHECK(api->count(operation::create) == 2);
  CHECK(api->count(operation::kill) == 0);
  CHECK(agents_left_alone());
  CHECK(count("pane.started") == 4);
  CHECK(count("swarm.created") == 1);
  for (const auto& s : rows)
    agents_end(s);
  CHECK(ending(id) == "closed completed");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(swarm_world, "a stopping run goes on stopping after a restart of its actor") {
  auto id = run();
  auto rows = sandboxes(id);
  // Before the agents run a stop lives in the SANDBOX's memory alone: the SWARM says it again.
  REQUIRE(call(stop_request{id, false}));
  crash(path_of(id) + "/swarm");
  advance(5s);
  agents_end(rows[0], 130);
  CHECK(ending(id) == "closed cancelled");
  finish();
}

TEST_CASE_METHOD(swarm_world, "a provider that is away when the daemon comes back, or whose key or "
                              "section is missing then, is waited for") {
  auto id = run();
  auto rows = sandboxes(id);
  auto away = GENERATE(make_error(errc::host_failed, "no host"),
                       make_error(errc::secret_missing, "E2B_API_KEY"),
                       make_error(errc::unknown_provider, "cloud"));
  auto connect = svc->provider;
  bool there = false;
  svc->provider = [&](const std::string& name) -> result<std::shared_ptr<sandbox::api>> {
    if (!there) return away;
    return connect(name);
  };
  restart();
  advance(1min);
  CHECK(states(id) == strings{"running"});
  SECTION("until it comes back") {
    there = true;
    advance(6s);
    agents_end(rows[0]);
    CHECK(ending(id) == "closed completed");
  }
  SECTION("or the run is killed: the intent stays for the reaper") {
    REQUIRE(call(stop_request{id, true}));
    advance(6s);
    CHECK(ending(id) == "closed failed");
    CHECK(only_sandbox(id).kill_intended);
    CHECK(api->boxes.size() == 1);
    there = true;
    advance(16s);
    CHECK(api->boxes.empty());
  }
  finish();
}

TEST_CASE_METHOD(swarm_world,
                 "a sandbox that was made before a restart is stopped when the run is") {
  auto id = run();
  auto rows = sandboxes(id);
  REQUIRE(call(stop_request{id, false}));
  CHECK(swarm(id).state == swarm_phase::stopping);
  restart();
  advance(2s);
  agents_end(rows[0], 130);
  CHECK(ending(id) == "closed cancelled");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(swarm_world, "input reaches the pane it was sent to, and no other") {
  spec->sandboxes = 2;
  auto id = run();
  auto rows = sandboxes(id);
  auto pane = tables->panes(rows[1].sandbox)->at(0);
  auto sent = call(send_request{pane.pane, {"hello\n"}});
  REQUIRE(sent);
  advance(1s);
  auto receipts = all<input_receipt>();
  REQUIRE(receipts.size() == 2); // accepted, written
  CHECK(receipts[0].pane == pane.pane);
  CHECK(guest_calls("input") == 1);
  for (const auto& c : api->calls)
    if (c.op == operation::run && c.what.find(" input ") != std::string::npos)
      CHECK(c.remote_id == rows[1].remote_id);
  for (const auto& s : rows)
    agents_end(s);
  CHECK(call(send_request{pane.pane, {"late"}}).err().code == errc::wrong_phase);
  CHECK(call(send_request{{"pn_nosuch"}, {"x"}}).err().code == errc::no_such_pane);
  finish();
}

TEST_CASE("sandboxes that a killed daemon had not begun are known by their numbers") {
  swarm_spec spec;
  spec.sandboxes = 4;
  auto row = [](std::uint32_t index, phase at) {
    sandbox_record r;
    r.index = index;
    r.state = at;
    return r;
  };
  CHECK(missing_indices(spec, {row(0, phase::closed), row(2, phase::running)})
        == std::vector<std::uint32_t>{1, 3});
  CHECK(missing_indices(spec, {row(3, phase::queued), row(2, phase::queued), row(1, phase::queued),
                               row(0, phase::queued)})
            .empty());
}

TEST_CASE("panes that a killed daemon had not written down are known by their numbers") {
  swarm_spec spec;
  spec.panes = 3;
  sandbox_record box;
  box.sandbox = {"sb_a"};
  box.swarm = {"sw_a"};
  box.index = 2;
  pane_record known;
  known.index = 7;
  auto missing = missing_panes(spec, box, {known});
  REQUIRE(missing.size() == 2);
  CHECK(missing[0].name == "p6");
  CHECK(missing[1].name == "p8");
  CHECK(missing[1].sandbox.value == "sb_a");
  CHECK(missing[1].swarm.value == "sw_a");
  CHECK(missing[1].pane.valid());
  CHECK(missing_panes(spec, box, missing_panes(spec, box, {})).empty());
}

TEST_CASE_METHOD(swarm_world, "a sandbox of which a killed daemon wrote down some panes or none is "
                              "gone on with, with all of them") {
  auto written = GENERATE(0u, 1u);
  spec->panes = 2;
  auto begun = post(run_request{*spec});
  REQUIRE(read<run_reply>(begun));
  auto id = read<run_reply>(begun)->swarm;
  stop(); // while it packs: no sandbox is on disk
  REQUIRE(sandboxes(id).empty());
  {
    auto j = open_database();
    REQUIRE(j);
    chunk c;
    c.swarm = id;
    c.sandbox = sandbox_id::make();
    c.count = 1 + written;
    pack_event(c.body.data, svc->wall_now(), sandbox_queued{0, spec->provider, 0});
    if (written > 0)
      pack_event(c.body.data, svc->wall_now(),
                 pane_created{pane_id::make(), 0, "p0", spec->agent, "skep/p0"});
    REQUIRE(j->begin());
    REQUIRE(j->append(c));
    REQUIRE(j->commit());
  }
  start();
  CHECK(states(id) == strings{"running"});
  strings names;
  auto rows = tables->panes(only_sandbox(id).sandbox).value();
  for (const auto& p : rows)
    names.push_back(p.name + " " + std::string{to_string(p.state)});
  CHECK(names == strings{"p0 running", "p1 running"});
  CHECK(api->count(operation::create) == 1);
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE("the verdict on a swarm: failed outweighs, the first error counts") {
  auto box = [](outcome o, const char* code) {
    sandbox_record r;
    r.result = o;
    r.error_code = code;
    return r;
  };
  auto of = [](std::vector<sandbox_record> rows) {
    auto v = verdict_of(rows, {});
    return std::string{to_string(v.result)}
           + (v.why ? " " + std::string{to_string(v.why.code)} : "");
  };
  CHECK(of({}) == "completed");
  CHECK(of({box(outcome::completed, ""), box(outcome::completed, "")}) == "completed");
  CHECK(of({box(outcome::lost, "gone"), box(outcome::completed, "")}) == "lost gone");
  CHECK(of({box(outcome::lost, "gone"), box(outcome::failed, "auth")}) == "failed gone");
  CHECK(of({box(outcome::timed_out, ""), box(outcome::cancelled, "")}) == "timed_out");
  // A doubt about one does not hide that the time was over for another.
  CHECK(of({box(outcome::suspect, "suspect_result"), box(outcome::timed_out, "timed_out")})
        == "timed_out suspect_result");
  CHECK(of({box(outcome::cancelled, ""), box(outcome::timed_out, ""), box(outcome::lost, "gone")})
        == "lost gone");
}
