// Scripts of the COMMANDS desk: idempotency keys, and that no command is lost.
#include "storage/connection.hpp"
#include "tests/actors/nearly_full.hpp"
#include "tests/actors/tree_fixture.hpp"
#include "tools/skepd/tables.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct desk_world : tree_world {
  desk_world() { start(); }
  template <class R>
  errc refused(const R& r, const std::string& key = {}) {
    auto a = call(r, key);
    return a ? errc::none : a.err().code;
  }
};

/// A daemon that reads the open runs as skepd does, from a table that a test spoils.
struct open_runs_world : desk_world {
  std::shared_ptr<tools::state_reader> reads = std::make_shared<tools::state_reader>(database());
  int unread = 0; ///< So often the table cannot be read.

  open_runs_world() {
    open_runs = [this]() -> result<std::vector<open_run>> {
      if (unread > 0 && unread-- > 0) return make_error(errc::io, "the disk is away");
      return reads->open_runs();
    };
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

TEST_CASE_METHOD(desk_world,
                 "the same key and run get the first answer, before and after a restart") {
  auto first = call(run_request{*spec}, "k1");
  REQUIRE(first);
  CHECK(first->seq > 0);
  for (int i = 0; i < 2; ++i) {
    auto again = call(run_request{*spec}, "k1");
    REQUIRE(again);
    CHECK(again->swarm == first->swarm);
    CHECK(again->seq == first->seq);
    stop();
    start();
  }
  CHECK(count("swarm.created") == 1);
  auto other = *spec;
  other.name = "another";
  CHECK(refused(run_request{other}, "k1") == errc::key_reused);
  CHECK(refused(stop_request{first->swarm, false}, "k1") == errc::key_reused);
  CHECK(count("swarm.created") == 1);
  CHECK(swarm(first->swarm).state == swarm_phase::running);
  CHECK(refused(run_request{*spec}, std::string(65, 'k')) == errc::bad_argument);
  finish();
}

TEST_CASE_METHOD(desk_world, "a run that was refused does not use up its key") {
  auto bad = *spec;
  bad.panes = 0;
  CHECK(refused(run_request{bad}, "k1") != errc::none);
  REQUIRE(call(run_request{*spec}, "k1"));
  finish();
}

TEST_CASE_METHOD(desk_world, "a run that a nearly full disk refuses does not use up its key") {
  log->refuse = nearly_full;
  CHECK(refused(run_request{*spec}, "k1") == errc::disk_full);
  CHECK(count("command.accepted") == 0);
  CHECK(count("swarm.created") == 0);
  CHECK(registry->size() == 0);
  log->refuse = nullptr;
  auto again = call(run_request{*spec}, "k1");
  REQUIRE(again);
  CHECK(again->seq > 0);
  CHECK(swarm(again->swarm).state == swarm_phase::running);
  CHECK(call(run_request{*spec}, "k1")->swarm == again->swarm);
  CHECK(count("command.accepted") == 1);
  CHECK(count("swarm.created") == 1);
  finish();
}

TEST_CASE_METHOD(desk_world, "a stop with a key is carried out once and answers the same") {
  auto one = run();
  auto first = call(stop_request{{}, false}, "s1"); // all
  REQUIRE(first);
  CHECK(first->swarms == std::vector<swarm_id>{one});
  agents_end(only_sandbox(one), 130);
  auto two = run(); // not meant by that stop
  auto again = call(stop_request{{}, false}, "s1");
  REQUIRE(again);
  CHECK(again->swarms == first->swarms);
  CHECK(again->seq == first->seq);
  CHECK(swarm(two).state == swarm_phase::running);
  stop();
  start();
  CHECK(call(stop_request{{}, false}, "s1")->seq == first->seq);
  CHECK(swarm(two).state == swarm_phase::running);
  CHECK(refused(stop_request{{}, true}, "s1") == errc::key_reused);
  CHECK(refused(daemon_stop_request{false}, "s1") == errc::key_reused);
  CHECK(swarm(two).state == swarm_phase::running);
  finish();
}

TEST_CASE_METHOD(desk_world, "a key is kept for 24 hours") {
  auto id = run("k1");
  REQUIRE(call(stop_request{id, true}));
  advance(2s);
  v.advance(23h);
  CHECK(call(run_request{*spec}, "k1")->swarm == id);
  v.advance(1h);
  auto next = call(run_request{*spec}, "k1");
  REQUIRE(next);
  CHECK_FALSE(next->swarm == id);
  finish();
}

TEST_CASE_METHOD(desk_world, "input with a key is written once") {
  auto id = run();
  auto pane = tables->panes(only_sandbox(id).sandbox)->at(0).pane;
  auto first = call(send_request{pane, {"hello\n"}}, "i1");
  REQUIRE(first);
  CHECK(call(send_request{pane, {"hello\n"}}, "i1")->seq == first->seq);
  CHECK(guest_calls("input") == 1);
  CHECK(refused(send_request{pane, {"other\n"}}, "i1") == errc::key_reused);
  CHECK(guest_calls("input") == 1);
  CHECK(call(send_request{pane, {"hello\n"}})->seq > first->seq); // without a key: again
  CHECK(guest_calls("input") == 2);
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "the end of the daemon has a key, too, and is refused while swarms run") {
  auto id = run();
  CHECK(refused(daemon_stop_request{false}, "d1") == errc::wrong_phase);
  CHECK(shut_downs == 0);
  REQUIRE(call(stop_request{id, true}));
  advance(2s);
  CHECK(call(daemon_stop_request{false}, "d1")->open_swarms == 0);
  CHECK(shut_downs == 1);
  stop();
  start();
  CHECK(call(daemon_stop_request{false}, "d1")); // meant the one before
  CHECK(shut_downs == 1);
  CHECK(call(daemon_stop_request{false}, "d2"));
  CHECK(shut_downs == 2);
  finish();
}

TEST_CASE_METHOD(desk_world, "a client that saw swarm.closed may end the daemon at once") {
  auto id = run();
  reply_ptr status, end;
  log->on_commit = [&] {
    if (end || count("swarm.closed") == 0) return;
    status = send(daemon_status_request{});
    end = send(daemon_stop_request{false}, "d1");
  };
  REQUIRE(call(stop_request{id, true}));
  advance(2s);
  log->on_commit = nullptr;
  REQUIRE(end);
  CHECK(read<daemon_status_reply>(status).value().open_swarms == 0);
  CHECK(read<daemon_stop_reply>(end).value().open_swarms == 0);
  CHECK(shut_downs == 1);
  finish();
}

TEST_CASE_METHOD(desk_world, "a second request with a key waits for the answer of the first") {
  auto id = run();
  crash(path_of(id) + "/swarm");
  auto first = post(stop_request{id, false}, "s1");
  auto second = post(stop_request{id, false}, "s1");
  auto other = post(stop_request{id, true}, "s1");
  CHECK_FALSE(*first);
  CHECK_FALSE(*second);
  CHECK(read<stop_reply>(other).err().code == errc::key_reused);
  advance(3s);
  REQUIRE(read<stop_reply>(first));
  CHECK(read<stop_reply>(second)->seq == read<stop_reply>(first)->seq);
  CHECK((*second)->id != (*first)->id);
  CHECK(swarm(id).state == swarm_phase::stopping);
  agents_end(only_sandbox(id), 130);
  finish();
}

TEST_CASE_METHOD(desk_world, "a stop while the swarm is being restarted waits and is not lost") {
  auto id = run();
  crash(path_of(id) + "/swarm");
  REQUIRE(at(path_of(id) + "/swarm") == nullptr);
  auto reply = post(stop_request{id, true});
  CHECK_FALSE(*reply);
  advance(3s);
  REQUIRE(read<stop_reply>(reply));
  advance(1s);
  CHECK(ending(id) == "closed killed");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "input for a pane whose swarm is being restarted waits and is written once") {
  auto id = run();
  auto pane = tables->panes(only_sandbox(id).sandbox)->at(0).pane;
  crash(path_of(id) + "/swarm");
  REQUIRE(at(path_of(id) + "/swarm") == nullptr);
  auto reply = post(send_request{pane, {"hello\n"}});
  CHECK_FALSE(*reply);
  advance(5s);
  REQUIRE(read<send_reply>(reply));
  CHECK(guest_calls("input") == 1);
  agents_end(only_sandbox(id));
  CHECK(refused(send_request{pane, {"late"}}) == errc::wrong_phase); // at once: the tables say so
  finish();
}

TEST_CASE_METHOD(desk_world, "a stop that overtakes the swarm's beginning is carried out") {
  auto begun = post(run_request{*spec});
  // Nothing of the pool has run yet: the swarm exists and packs.
  REQUIRE(read<run_reply>(begun));
  auto id = read<run_reply>(begun)->swarm;
  REQUIRE(call(stop_request{id, false}));
  advance(1s);
  CHECK(ending(id) == "closed cancelled");
  CHECK(api->boxes.empty());
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "a command whose desk dies is refused, and nothing of it happens later") {
  auto id = run();
  crash(path_of(id) + "/swarm"); // so that the answer takes a while
  auto reply = post(stop_request{id, true}, "s1");
  crash("work/commands");
  settle();
  CHECK(read<stop_reply>(reply).err().code == errc::shutting_down);
  advance(5s);
  CHECK(swarm(id).state == swarm_phase::running);
  CHECK(api->boxes.size() == 1);
  REQUIRE(call(stop_request{id, true}, "s1")); // the key is free
  advance(2s);
  CHECK(ending(id) == "closed killed");
  finish();
}

TEST_CASE_METHOD(desk_world,
                 "stopping what is closed or unknown says so; kept sandboxes can be killed") {
  spec->keep = true;
  auto id = run();
  agents_end(only_sandbox(id));
  CHECK(ending(id) == "closed completed");
  CHECK(api->boxes.size() == 1);
  CHECK(refused(stop_request{id, false}) == errc::wrong_phase);
  CHECK(refused(stop_request{{"sw_nosuch"}, false}) == errc::no_such_swarm);
  REQUIRE(call(stop_request{id, true}, "k"));
  advance(1s);
  CHECK(api->boxes.empty());
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(call(stop_request{id, true}, "k"));
  CHECK(refused(stop_request{id, true}) == errc::wrong_phase);
  finish();
}

TEST_CASE_METHOD(desk_world, "what can be refused is refused before anything is made") {
  svc->secret = [](const std::string&) { return std::string{}; };
  svc->knows_provider = [](const std::string& name) { return name == "local"; };
  spec->provider = "elsewhere";
  CHECK(refused(run_request{*spec}) == errc::unknown_provider);
  spec->provider = "local";
  svc->key_secret = [](const std::string&) { return std::string{"PROVIDER_KEY"}; };
  CHECK(refused(run_request{*spec}) == errc::secret_missing);
  svc->key_secret = [](const std::string&) { return std::string{}; };
  spec->agent = agent_kind::claude;
  spec->argv.clear();
  spec->prompts = {"do it"};
  CHECK(refused(run_request{*spec}) == errc::secret_missing);
  CHECK(log->committed.empty());
  CHECK(api->calls.empty());
  finish();
}

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
  {
    auto db = storage::connection::open(database());
    REQUIRE(db);
    REQUIRE(db->run("UPDATE swarms SET spec = x'c1' WHERE swarm = ?1", lost));
  }
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
  agents_end(rows[0]);
  CHECK(ending(other) == "closed completed");
  finish();
}

TEST_CASE("a table of open runs that is not there is an error, not an empty list") {
  scratch tmp;
  tools::state_reader reads{tmp.path / "skep.db"};
  CHECK_FALSE(reads.open_runs());
}
