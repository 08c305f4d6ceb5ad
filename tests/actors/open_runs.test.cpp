// What a daemon does with the runs that a former one left open, and with those of them whose spec
// cannot be read.
#include "storage/connection.hpp"
#include "tests/actors/tree_fixture.hpp"
#include "tools/skepd/tables.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// A daemon that reads the open runs as skepd does, from a table that a test spoils.
struct open_runs_world : tree_world {
  std::shared_ptr<tools::state_reader> reads = std::make_shared<tools::state_reader>(database());
  int unread = 0; ///< So often the table cannot be read.

  open_runs_world() {
    start();
    open_runs = [this]() -> result<std::vector<open_run>> {
      if (unread > 0 && unread-- > 0) return make_error(errc::io, "the disk is away");
      return reads->open_runs();
    };
  }
  template <class R>
  errc refused(const R& r, const std::string& key = {}) {
    auto a = call(r, key);
    return a ? errc::none : a.err().code;
  }
  /// What a run was started with cannot be read from now on.
  void spoil(const swarm_id& id) {
    auto db = storage::connection::open(database());
    REQUIRE(db);
    REQUIRE(db->run("UPDATE swarms SET spec = x'c1' WHERE swarm = ?1", id));
  }
  /// A run that the next daemon cannot lead, and that next daemon.
  swarm_id unled_run() {
    auto id = run();
    stop();
    spoil(id);
    start();
    advance(1s);
    REQUIRE(registry->unreadable(id));
    return id;
  }
  std::size_t placed() {
    auto s = svc->load_spend(svc->wall_now());
    REQUIRE(s);
    return s->placed.size();
  }
  /// A run that the daemon left when it stopped, with a file of its own in the state directory.
  std::filesystem::path left_behind(const swarm_id& id) {
    stop();
    auto file = svc->state_dir / "work" / id.value / "a-file";
    std::filesystem::create_directories(file.parent_path());
    std::ofstream{file} << "of a run";
    return file;
  }
};

} // namespace

TEST_CASE_METHOD(open_runs_world, "while the open runs cannot be read no command is taken and no "
                                  "file of theirs is removed; then they are taken up") {
  auto id = run();
  auto rows = sandboxes(id);
  auto file = left_behind(id);
  unread = 2;
  start();
  CHECK(at("work/commands") == nullptr);
  CHECK(registry->size() == 0);
  CHECK(refused(stop_request{id, true}) != errc::none);
  advance(10s);
  CHECK(unread == 0);
  CHECK(count("open_runs_unread") == 2);
  CHECK(std::filesystem::exists(file));
  REQUIRE(at("work/commands"));
  CHECK(registry->size() == 1);
  CHECK(states(id) == strings{"running"});
  CHECK(api->count(operation::create) == 1);
  agents_end(rows[0]);
  CHECK(ending(id) == "closed completed");
  finish();
}

TEST_CASE_METHOD(open_runs_world,
                 "open runs that cannot be read at all end the daemon, and touch nothing") {
  auto id = run();
  auto file = left_behind(id);
  svc->limits.supervision.max_restarts = 1;
  unread = 1000;
  start();
  advance(2min);
  CHECK(gave_up(v.reason_of(root)));
  CHECK(std::filesystem::exists(file));
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(api->boxes.size() == 1);
  finish();
}

TEST_CASE_METHOD(open_runs_world, "a run whose spec cannot be read keeps its files, is told once, "
                                  "and does not hold up the others") {
  auto lost = run();
  auto other = run();
  auto rows = sandboxes(other);
  auto file = left_behind(lost);
  auto swept = svc->state_dir / "work" / "sw_nosuch";
  std::filesystem::create_directories(swept);
  spoil(lost);
  auto open = reads->open_runs();
  REQUIRE(open);
  REQUIRE(open->size() == 2);
  CHECK_FALSE((*open)[0].spec);
  CHECK((*open)[1].spec);
  start();
  advance(1s);
  CHECK(std::filesystem::exists(file));
  CHECK_FALSE(std::filesystem::exists(swept));
  CHECK(registry->size() == 1);
  CHECK(registry->find(other) != nullptr);
  CHECK(count("run_not_taken_up") == 1);
  crash("work/commands");
  advance(5s);
  CHECK(count("run_not_taken_up") == 1);
  CHECK(std::filesystem::exists(file));
  std::string told;
  for (const auto& n : all<notice>())
    if (n.code == "run_not_taken_up") told = n.text;
  CHECK(told.find("`skep kill " + lost.value + "` ends its sandboxes") != std::string::npos);
  agents_end(rows[0]);
  CHECK(ending(other) == "closed completed");
  // Nothing of it ends by itself while its leases run.
  CHECK(swarm(lost).state == swarm_phase::running);
  CHECK(states(lost) == strings{"running"});
  CHECK(api->boxes.size() == 1);
  CHECK(placed() == 1);
  finish();
}

TEST_CASE_METHOD(open_runs_world, "a run whose spec cannot be read is ended by a kill, and with it "
                                  "its sandboxes, its place and its cost") {
  auto lost = run();
  auto file = left_behind(lost);
  spoil(lost);
  start();
  advance(1s);
  auto stopped = call(stop_request{lost, false});
  REQUIRE_FALSE(stopped);
  CHECK(stopped.err().code == errc::wrong_phase);
  CHECK(stopped.err().message.find("`skep kill " + lost.value + "`") != std::string::npos);
  auto all_of_them = call(stop_request{{}, false});
  REQUIRE(all_of_them);
  CHECK(all_of_them->swarms.empty());
  CHECK(api->boxes.size() == 1);
  CHECK(placed() == 1);
  log->refuse = [](const chunk&) { return make_error(errc::io); };
  CHECK(refused(stop_request{lost, true}, "k") == errc::io); // and nothing of it happens later
  log->refuse = nullptr;
  advance(5s);
  CHECK(api->boxes.size() == 1);
  CHECK(swarm(lost).state == swarm_phase::running);
  CHECK(registry->unreadable(lost));

  auto killed = call(stop_request{lost, true}, "k");
  REQUIRE(killed);
  CHECK(killed->swarms == std::vector<swarm_id>{lost});
  advance(1s);
  CHECK(ending(lost) == "closed killed");
  CHECK(swarm(lost).error_text.find("what the run was started with cannot be read")
        != std::string::npos);
  CHECK(states(lost) == strings{"closed killed"});
  auto box = only_sandbox(lost);
  CHECK(tables->panes(box.sandbox)->at(0).result == outcome::killed);
  CHECK(box.kill_confirmed);
  CHECK(box.charged_until != utc_time{});
  CHECK(api->boxes.empty());
  CHECK(placed() == 0);
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK_FALSE(registry->unreadable(lost));
  CHECK(call(stop_request{lost, true}, "k")->seq == killed->seq);
  CHECK(refused(stop_request{lost, true}) == errc::wrong_phase); // it is closed, and that is true
  stop();
  start();
  CHECK(count("run_not_taken_up") == 1);
  CHECK(count("swarm.closed") == 1);
  finish();
}

TEST_CASE_METHOD(open_runs_world,
                 "kill --all and panic end runs whose spec cannot be read like any other") {
  spec->sandboxes = 2;
  auto lost = unled_run();
  selection s;
  SECTION("kill --all") {
    auto killed = call(stop_request{{}, true});
    REQUIRE(killed);
    CHECK(killed->swarms == std::vector<swarm_id>{lost});
  }
  SECTION("panic --all") {
    s.all = true;
    CHECK(call(panic_request{s})->sandboxes == 2);
  }
  SECTION("panic for the run") {
    s.swarm = lost;
    CHECK(call(panic_request{s})->sandboxes == 2);
  }
  SECTION("panic for its provider") {
    s.provider = only_sandbox(lost).provider;
    CHECK(call(panic_request{s})->sandboxes == 2);
  }
  SECTION("panic for its sandboxes, one after the other") {
    s.sandbox = sandboxes(lost)[0].sandbox;
    REQUIRE(call(panic_request{s}));
    advance(1s);
    CHECK(states(lost) == strings{"closed killed", "running"});
    CHECK(sandboxes(lost)[0].kill_confirmed);
    CHECK(api->boxes.size() == 1);
    CHECK(placed() == 1);
    CHECK(swarm(lost).state == swarm_phase::running); // a release that can read it goes on
    s.sandbox = sandboxes(lost)[1].sandbox;
    REQUIRE(call(panic_request{s}));
    advance(1s);
    REQUIRE(call(stop_request{lost, true}));
  }
  advance(1s);
  CHECK(ending(lost) == "closed killed");
  CHECK(states(lost) == strings(2, "closed killed"));
  CHECK(count("sandbox.kill_confirmed") == 2);
  CHECK(api->boxes.empty());
  CHECK(placed() == 0);
  finish();
}

TEST_CASE_METHOD(open_runs_world, "a run whose spec cannot be read ends as timed out when the "
                                  "leases of its sandboxes are over") {
  auto lost = unled_run();
  auto box = only_sandbox(lost);
  REQUIRE(box.lease_end_at > svc->wall_now() + 2min);
  v.advance(box.lease_end_at - svc->wall_now() - 1min);
  settle();
  CHECK(swarm(lost).state == swarm_phase::running);
  CHECK(states(lost) == strings{"running"});
  CHECK(placed() == 1);
  v.advance(1min);
  api->lose(box.remote_id); // as its provider does
  advance(20s);
  CHECK(ending(lost) == "closed timed_out");
  CHECK(states(lost) == strings{"closed timed_out"});
  CHECK(only_sandbox(lost).kill_confirmed);
  CHECK(only_sandbox(lost).charged_until != utc_time{});
  CHECK(placed() == 0);
  finish();
}

TEST_CASE("a table of open runs that is not there is an error, not an empty list") {
  scratch tmp;
  tools::state_reader reads{tmp.path / "skep.db"};
  CHECK_FALSE(reads.open_runs());
}
