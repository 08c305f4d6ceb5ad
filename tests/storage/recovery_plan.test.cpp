// What the next daemon would do with a state directory, read from stories that ended in the middle.
#include "storage/recovery_plan.hpp"
#include "messages/commands.hpp"
#include "storage/epoch_file.hpp"
#include "storage/files.hpp"
#include "storage/last_failure.hpp"
#include "tests/storage/support.hpp"

#include <algorithm>
#include <fstream>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

struct plan_world {
  temp_dir dir;
  state_paths paths;

  plan_world() {
    auto made = prepare_state(dir / "state");
    REQUIRE(made.ok());
    paths = *made;
  }
  journal open() { return open_journal(paths.database()); }
  recovery_plan plan(utc_time now = at(5000)) {
    auto p = plan_recovery(paths, now);
    if (!p) FAIL(render(p.err()));
    return *p;
  }
};

/// "ACTION sandbox-or-swarm state" of every step but take_up and look_for_orphans.
std::vector<std::string> steps(const recovery_plan& p) {
  std::vector<std::string> out;
  for (const auto& s : p.steps) {
    if (s.action == "take_up" || s.action == "look_for_orphans") continue;
    auto what = !s.pane.empty() ? s.pane.value : !s.sandbox.empty() ? s.sandbox.value : s.text;
    out.push_back(s.action + " " + what);
  }
  return out;
}

using strings = std::vector<std::string>;

void queued(journal& j, int box) {
  REQUIRE(put(j, swarm_no(1), sandbox_no(box), 1, sandbox_queued{0, "local"}) == errc::none);
}

void asked_for(journal& j, int box, const std::string& intent) {
  queued(j, box);
  REQUIRE(put(j, swarm_no(1), sandbox_no(box), 2, phase_changed{phase::creating, 1},
              create_intended{intent, "base", 1})
          == errc::none);
}

void born(journal& j, int box, const std::string& remote) {
  asked_for(j, box, remote + "-intent");
  REQUIRE(
      put(j, swarm_no(1), sandbox_no(box), 3, sandbox_created{remote + "-intent", remote, "0.2"})
      == errc::none);
}

} // namespace

TEST_CASE_METHOD(plan_world, "a state directory without a database has nothing to recover") {
  auto p = plan();
  CHECK(p.steps.empty());
  CHECK(p.epoch == 1);
  CHECK(p.daemon_pid == 0);
  CHECK(p.state_dir == paths.root.string());
  CHECK_FALSE(fs::exists(paths.database())); // looking makes nothing
}

TEST_CASE_METHOD(plan_world, "the plan names the epoch of the next daemon, also after a restored "
                             "backup") {
  {
    auto j = open();
    REQUIRE(take_epoch(j, "1", 1, at(1)).ok());
  }
  CHECK(plan().epoch == 2);
  REQUIRE(write_epoch_mark(paths.database(), {7, 1, 1}).ok());
  CHECK(plan().epoch == 8);
  std::ofstream{epoch_file(paths.database())} << "rubbish";
  CHECK(plan().epoch == 2);
}

TEST_CASE_METHOD(plan_world, "the plan has one step for every sandbox, by how far it had come") {
  {
    auto j = open();
    REQUIRE(take_epoch(j, "1", 1, at(1)).ok());
    REQUIRE(put(j, swarm_no(1), {}, 1, a_swarm()) == errc::none);
    queued(j, 1);
    asked_for(j, 2, "in2");
    born(j, 3, "r3");
    born(j, 4, "r4");
    REQUIRE(put(j, swarm_no(1), sandbox_no(4), 4, kill_intended{"it failed"}) == errc::none);
    born(j, 5, "r5");
    REQUIRE(put(j, swarm_no(1), sandbox_no(5), 4, phase_changed{phase::collecting, 1})
            == errc::none);
    born(j, 6, "r6"); // over, but nobody confirmed its kill
    REQUIRE(put(j, swarm_no(1), sandbox_no(6), 4, kill_intended{"over"},
                sandbox_closed{outcome::failed, {}})
            == errc::none);
    asked_for(j, 7, "in7"); // given up without an answer
    REQUIRE(put(j, swarm_no(1), sandbox_no(7), 4, sandbox_closed{outcome::failed, {}})
            == errc::none);
  }
  auto p = plan();
  CHECK(p.epoch == 2);
  CHECK(steps(p)
        == strings{"create sb_test1", "find_create sb_test2", "adopt sb_test3", "kill sb_test4",
                   "adopt sb_test5", "kill sb_test6", "find_create sb_test7"});
  REQUIRE(p.steps.front().action == "take_up");
  CHECK(p.steps.front().text.find("5 of 2") != std::string::npos);
  auto look = std::find_if(p.steps.begin(), p.steps.end(),
                           [](const auto& s) { return s.action == "look_for_orphans"; });
  REQUIRE(look != p.steps.end());
  CHECK(look->provider == "local");
  for (const auto& s : p.steps)
    CHECK_FALSE(s.text.empty());
}

TEST_CASE_METHOD(plan_world,
                 "the plan says of every open agent whether it is started or followed") {
  {
    auto j = open();
    begin_story(j);
    auto more = [&](int pane, const auto&... e) {
      REQUIRE(put(j, swarm_no(1), sandbox_no(1), 9,
                  pane_created{pane_no(pane), static_cast<std::uint32_t>(pane),
                               "p" + std::to_string(pane), agent_kind::command, ""},
                  e...)
              == errc::none);
    };
    more(2);
    more(3, pane_start_intended{pane_no(3), 1});
    more(4, pane_start_intended{pane_no(4), 1}, pane_exited{pane_no(4), 1, 3, 0, 10});
  }
  auto p = plan();
  CHECK(steps(p)
        == strings{"adopt sb_test1", "follow_pane pn_test1", "start_pane pn_test2",
                   "start_pane pn_test3", "close_pane pn_test4"});
}

TEST_CASE_METHOD(plan_world, "the plan lists lost sandboxes that get a successor, with its "
                             "checkpoint, and none that does not") {
  auto spec = [](std::int64_t limit_ms) {
    swarm_spec s;
    s.replace_lost = 2;
    s.limit_ms = limit_ms;
    auto e = a_swarm();
    e.spec = {pack(s)};
    return e;
  };
  auto lose = [](journal& j, int box, std::int64_t when) {
    born(j, box, "r" + std::to_string(box));
    if (box != 3)
      REQUIRE(put(j, swarm_no(1), sandbox_no(box), 4,
                  base_recorded{"c0ffee" + std::string(34, '0'), true, 1, 1, "x"})
              == errc::none);
    REQUIRE(put(j, swarm_no(1), sandbox_no(box), when,
                sandbox_closed{outcome::lost, make_error(errc::not_found)})
            == errc::none);
  };
  {
    auto j = open();
    REQUIRE(put(j, swarm_no(1), {}, 1, spec(10'000)) == errc::none);
    lose(j, 1, 10);
    sandbox_replaced named; // its intent is on disk, and nothing came of it
    named.lost = sandbox_no(1);
    named.successor = sandbox_no(9);
    named.number = 1;
    named.most = 2;
    REQUIRE(put(j, swarm_no(1), {}, 11, named) == errc::none);
    lose(j, 3, 30);
    lose(j, 2, 40); // the third loss of two that are replaced
  }
  auto p = plan();
  REQUIRE(steps(p) == strings{"replace sb_test1", "replace sb_test3"});
  const auto& first = p.steps.at(1);
  const auto& second = p.steps.at(2);
  CHECK(first.successor == sandbox_no(9));
  CHECK(first.checkpoint == "c0ffee" + std::string(34, '0'));
  CHECK(first.state == "lost");
  CHECK(first.text == "sb_test9 starts (1 of 2), from its checkpoint c0ffee000000");
  CHECK(second.successor.empty());
  CHECK(second.checkpoint.empty());
  CHECK(second.text.starts_with("a successor starts (2 of 2), from the work tree"));
  // Its time is over: only what was named before is begun, as the SWARM does.
  CHECK(steps(plan(at(20'000))) == strings{"replace sb_test1"});
  {
    auto j = open();
    REQUIRE(put(j, swarm_no(1), {}, 50, swarm_phase_changed{swarm_phase::stopping, "stop"})
            == errc::none);
  }
  CHECK(steps(plan()).empty());
}

TEST_CASE_METHOD(plan_world,
                 "orphans are looked for wherever a sandbox of ours may still be there, "
                 "whatever its row says") {
  constexpr std::int64_t hour = 3'600'000;
  {
    auto j = open();
    REQUIRE(put(j, swarm_no(1), {}, 1, a_swarm()) == errc::none);
    born(j, 1, "r1"); // its provider knew none, in passing perhaps
    REQUIRE(put(j, swarm_no(1), sandbox_no(1), 4,
                sandbox_closed{outcome::lost, make_error(errc::not_found)})
            == errc::none);
    born(j, 2, "r2"); // taken up again after a day, with a whole lease from then on
    REQUIRE(put(j, swarm_no(1), sandbox_no(2), 24 * hour, lease_intended{at(40 * hour)},
                kill_intended{"over"}, kill_confirmed{"r2"}, sandbox_closed{outcome::completed, {}})
            == errc::none);
    REQUIRE(put(j, swarm_no(1), sandbox_no(3), 5, sandbox_queued{1, "cloud"}) == errc::none);
    REQUIRE(put(j, swarm_no(1), sandbox_no(3), 6, sandbox_closed{outcome::cancelled, {}})
            == errc::none);
    REQUIRE(put(j, swarm_no(1), {}, 24 * hour, swarm_closed{outcome::failed, {}}) == errc::none);
  }
  auto looked_at = [this](std::int64_t ms) {
    strings out;
    for (const auto& s : plan(at(ms)).steps)
      if (s.action == "look_for_orphans") out.push_back(s.provider);
    return out;
  };
  CHECK(looked_at(hour) == strings{"cloud", "local"});
  CHECK(looked_at(25 * hour) == strings{"cloud", "local"});
  CHECK(looked_at(27 * hour) == strings{"local"}); // as long as its lease
  CHECK(looked_at(41 * hour).empty());
}

TEST_CASE_METHOD(plan_world, "what was kept has a line of its own in the plan, with what ends it, "
                             "until somebody ends it") {
  {
    auto j = open();
    REQUIRE(put(j, swarm_no(1), {}, 1, a_swarm()) == errc::none);
    born(j, 1, "r1");
    REQUIRE(put(j, swarm_no(1), sandbox_no(1), 4, lease_intended{at(65'000)},
                sandbox_closed{outcome::completed, {}, true})
            == errc::none);
    REQUIRE(put(j, swarm_no(1), {}, 5, swarm_closed{outcome::completed, {}}) == errc::none);
  }
  auto p = plan(at(5000));
  REQUIRE(steps(p) == strings{"keep sb_test1"});
  const auto& kept = p.steps.front();
  CHECK(kept.remote_id == "r1");
  CHECK(kept.provider == "local");
  CHECK(kept.text
        == "it was kept; left alone, for at most 60 s more; `skep kill sw_test1` ends it");
  // The upload stays for whoever fetches what it holds.
  fs::create_directories(paths.root / "work" / "sw_test1");
  REQUIRE(write_file(paths.root / "work" / "sw_test1" / "worktree.tar", "x").ok());
  auto late = plan(at(65'000));
  REQUIRE(steps(late) == strings{"keep sb_test1"});
  CHECK(late.steps.front().text.find("its lease on record is over") != std::string::npos);
  {
    auto j = open();
    REQUIRE(put(j, swarm_no(1), sandbox_no(1), 6, kill_intended{"asked to"}) == errc::none);
  }
  CHECK(steps(plan()) == strings{"kill sb_test1", "sweep work/sw_test1"});
}

TEST_CASE_METHOD(plan_world,
                 "files of runs that are over are to be swept, those of open ones are not") {
  {
    auto j = open();
    REQUIRE(put(j, swarm_no(1), {}, 1, a_swarm()) == errc::none);
  }
  fs::create_directories(paths.root / "work" / "sw_test1");
  fs::create_directories(paths.root / "work" / "sw_gone");
  CHECK(steps(plan()) == strings{"sweep work/sw_gone"});
}

TEST_CASE_METHOD(plan_world,
                 "the plan names the daemon that runs, and why the last one had to end") {
  CHECK(plan().last_failure.empty());
  leave_last_failure(paths, "io: the disk is gone");
  CHECK(plan().last_failure == "io: the disk is gone");
  clear_last_failure(paths);
  CHECK(plan().last_failure.empty());
  auto lock = state_lock::acquire(paths);
  REQUIRE(lock.ok());
  // An open-file-description lock is seen by every other descriptor, ours too.
  CHECK(plan().daemon_pid == ::getpid());
}

TEST_CASE_METHOD(plan_world, "a damaged database is told, not planned over") {
  std::ofstream{paths.database()} << std::string(8192, 'x');
  auto p = plan_recovery(paths, at(1));
  REQUIRE_FALSE(p.ok());
  CHECK(p.err().code == errc::corrupt_database);
}
