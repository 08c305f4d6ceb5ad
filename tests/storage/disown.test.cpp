// A copy of a state directory gives up what is the original's.
#include "storage/disown.hpp"

#include "storage/reader.hpp"
#include "tests/storage/support.hpp"

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

TEST_CASE("a disowned journal has nothing open, nothing to kill and nothing kept") {
  temp_dir dir;
  auto file = dir / "skep.db";
  auto w = swarm_no(1);
  {
    auto j = open_journal(file);
    auto ok = [](errc e) { REQUIRE(e == errc::none); };
    ok(put(j, w, {}, 1, a_swarm()));
    for (int n = 1; n <= 4; ++n) {
      auto i = std::to_string(n);
      ok(put(j, w, sandbox_no(n), 2, sandbox_queued{static_cast<std::uint32_t>(n), "local"},
             pane_created{pane_no(n), static_cast<std::uint32_t>(n), "p" + i, agent_kind::command,
                          "b"}));
      if (n == 4) continue; // never made
      ok(put(j, w, sandbox_no(n), 3, phase_changed{phase::creating, 0},
             create_intended{"c" + i, "base", 1}));
      ok(put(j, w, sandbox_no(n), 4, sandbox_created{"c" + i, "remote" + i, "1"}));
    }
    // 1 lives, 2 is kept, 3 has a kill that nobody confirmed.
    ok(put(j, w, sandbox_no(2), 5, pane_closed{pane_no(2), outcome::completed, {}, 0, 0},
           sandbox_closed{outcome::completed, {}, true}));
    ok(put(j, w, sandbox_no(3), 5, kill_intended{"done"}));
  }
  auto done = disown_open_runs(file, at(100));
  REQUIRE(done.ok());
  CHECK(done->swarms == 1);
  CHECK(done->sandboxes == 3);
  {
    auto opened = reader::open(file);
    REQUIRE(opened.ok());
    auto& r = *opened;
    CHECK(r.open_swarms()->empty());
    CHECK(r.open_sandboxes()->empty());
    CHECK(r.open_panes()->empty());
    CHECK(r.living_sandboxes()->empty());
    CHECK(r.unconfirmed_kills()->empty());
    CHECK(r.swarm(w)->result == outcome::lost);
    CHECK(r.swarm(w)->error_code == "copied_state");
    CHECK(r.sandbox(sandbox_no(1))->result == outcome::lost);
    CHECK_FALSE(r.sandbox(sandbox_no(1))->kill_intended);
    CHECK(r.sandbox(sandbox_no(2))->result == outcome::completed);
  }
  auto again = disown_open_runs(file, at(200));
  REQUIRE(again.ok());
  CHECK(again->swarms + again->sandboxes == 0);
}

TEST_CASE("where there is no journal there is nothing to disown") {
  temp_dir dir;
  auto done = disown_open_runs(dir / "skep.db", at(1));
  REQUIRE(done.ok());
  CHECK(done->swarms == 0);
  CHECK_FALSE(fs::exists(dir / "skep.db"));
}
