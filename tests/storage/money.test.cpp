// What facts about money add up to, and what is read of it.
#include "messages/cost.hpp"
#include "storage/reader.hpp"
#include "tests/storage/money_story.hpp"

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

/// Sums of money that differ by what adding them up rounds, and by a few milliseconds of time.
bool near(double a, double b) {
  return a - b < 1e-4 && b - a < 1e-4;
}

reader reader_of(const fs::path& file) {
  auto r = reader::open(file);
  if (!r) FAIL(render(r.err()));
  return std::move(*r);
}

} // namespace

TEST_CASE("a sandbox is charged from its create intent until it is confirmed gone") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  begin_story(j);
  tell_of_money(j);
  auto r = reader_of(dir / "skep.db");
  auto t = 20 * hour_ms;
  auto row = [&](int n) { return r.sandbox(sandbox_no(n)).value(); };
  CHECK(row(91).usd_per_hour == 0.10);
  CHECK(row(91).charged_from == at(t + 91));
  CHECK(row(91).charged_until == at(t + 28 * hour_ms + 7));
  CHECK(row(91).model_cost_usd == 0.9); // the gateway's, which never falls, not the agent's 0.8
  CHECK(near(r.pane(pane_no(91))->cost_usd, 0.8));
  CHECK(r.pane(pane_no(91))->counted);
  CHECK(row(92).charged_until == utc_time{});
  CHECK(row(92).model_cost_usd == 0.3); // the agent's: nobody counts
  CHECK_FALSE(r.pane(pane_no(92))->counted);
  CHECK(row(93).charged_until == at(t + hour_ms)); // lost is gone
  CHECK(row(94).charged_from == at(t + 300));      // from the create that may have made it
  auto w = r.swarm(swarm_no(9)).value();
  CHECK(w.budget_usd == 5);
  CHECK(w.pane_budget_usd == 2.5);
  CHECK(w.stop_reason == "budget");
  CHECK(near(w.time_cost_usd, 0.1 * 29)); // two that are gone
  CHECK(near(w.cost_usd, 0.1 * 29 + 1.2));
  auto now = at(t + 30 * hour_ms);
  auto all = r.sandboxes(swarm_no(9)).value();
  CHECK(near(cost_usd(w, all, now), 0.1 * (29 + 30 + 30) + 1.2)); // and two that are there
}

TEST_CASE("what counts against limits and budgets is read as it is at one moment") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  tell_of_money(j);
  auto r = reader_of(dir / "skep.db");
  auto t = 20 * hour_ms;
  auto s = r.spend(at(t + 30 * hour_ms)).value(); // 02:00 of the third day
  REQUIRE(s.placed.size() == 2);
  CHECK(s.placed[0].sandbox == sandbox_no(92));
  CHECK(s.placed[0].repo == "/repo");
  CHECK(s.placed[1].sandbox == sandbox_no(94));
  CHECK(s.placed[1].unresolved);
  CHECK(s.placed[1].reserved_usd == 0.06);
  CHECK(s.open_swarms.size() == 1);
  CHECK(s.creates.empty()); // older than a day
  CHECK(r.spend(at(t + 23 * hour_ms))->creates.at("cloud").size() == 5);
  // Of the 28 hours of the one that is gone, 24 were on the second day and a few ms on the third.
  CHECK(s.day_time_usd > 0);
  CHECK(s.day_time_usd < 1e-6);
  CHECK(near(s.day_model_usd, 0.4)); // 0.5 was the first day's
  CHECK(near(s.month_time_usd, 0.1 * 29));
  CHECK(near(s.month_model_usd, 1.2));
  CHECK(s.set_limits.at(budget_scope::day) == -1);
  CHECK(s.set_limits.at(budget_scope::month) == 300);
  CHECK(s.warnings.count("swarm sw_test9 80") == 1);
  CHECK(s.warnings.count("day 1970-01-01 50") == 1);
}

TEST_CASE("a kept sandbox costs and holds its place until it is confirmed gone, and is found once "
          "its lease is over") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto w = swarm_no(9);
  REQUIRE(put(j, w, {}, 1, with_budget(5)) == errc::none);
  auto keep = [&](int n, std::int64_t lease_ms) {
    auto s = sandbox_no(n);
    auto i = std::to_string(n);
    REQUIRE(put(j, w, s, 2, sandbox_queued{static_cast<std::uint32_t>(n), "cloud", 0.10},
                create_intended{"k" + i, "base", 1, 0.05})
            == errc::none);
    REQUIRE(put(j, w, s, 3, sandbox_created{"k" + i, "r" + i, "0.2"}) == errc::none);
    if (lease_ms > 0) REQUIRE(put(j, w, s, 4, lease_intended{at(lease_ms)}) == errc::none);
    REQUIRE(put(j, w, s, 5, sandbox_closed{outcome::completed, {}, true}) == errc::none);
    return s;
  };
  auto one = keep(1, hour_ms);
  auto two = keep(2, 2 * hour_ms);
  auto unleased = keep(3, 0); // it was kept before it had more than the lease of its create
  auto asked = keep(4, hour_ms);
  REQUIRE(put(j, w, asked, 6, kill_intended{"asked for"}) == errc::none); // a kill under way
  auto r = reader_of(dir / "skep.db");
  auto over = [&](std::int64_t t) {
    std::vector<sandbox_id> out;
    auto rows = r.kept_past_lease(at(t)).value();
    for (const auto& x : rows)
      out.push_back(x.sandbox);
    return out;
  };
  CHECK(over(hour_ms - 1) == std::vector{unleased});
  CHECK(over(hour_ms) == std::vector{one, unleased});
  auto before = r.spend(at(hour_ms - 1)).value();
  REQUIRE(before.placed.size() == 4);
  CHECK_FALSE(before.placed[0].lease_over);
  auto after = r.spend(at(hour_ms)).value();
  CHECK(after.placed[0].lease_over);
  CHECK_FALSE(after.placed[1].lease_over);
  CHECK_FALSE(after.placed[2].lease_over); // nobody knows its lease
  // What the REAPER stores: it costs until it was seen to be gone.
  REQUIRE(put(j, w, one, hour_ms + 2, kill_intended{"its lease is over"}, kill_confirmed{"r1"})
          == errc::none);
  CHECK(over(2 * hour_ms) == std::vector{two, unleased});
  auto row = r.sandbox(one).value();
  CHECK_FALSE(row.kept);
  CHECK(row.charged_until == at(hour_ms + 2));
  CHECK(near(r.swarm(w)->time_cost_usd, 0.10));
  auto rest = r.spend(at(3 * hour_ms)).value();
  REQUIRE(rest.placed.size() == 3);
  CHECK(rest.placed[0].sandbox == two);
  CHECK(near(rest.day_time_usd, 0.10));
}

TEST_CASE("a create that the provider refused for its quota or rate, or that was never sent, is in "
          "no window, and every other one that failed is") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  auto w = swarm_no(9);
  auto s = sandbox_no(91);
  REQUIRE(put(j, w, {}, 1, with_budget(5)) == errc::none);
  REQUIRE(put(j, w, s, 2, sandbox_queued{0, "cloud", 0.10}) == errc::none);
  auto fails = [&](const std::string& intent, errc code) {
    REQUIRE(put(j, w, s, 10, create_intended{intent, "base", 1, 0.05}) == errc::none);
    REQUIRE(put(j, w, s, 11, create_failed{intent, make_error(code)}) == errc::none);
    auto r = reader_of(dir / "skep.db");
    auto creates = r.spend(at(20)).value().creates;
    return creates.count("cloud") ? creates.at("cloud").size() : 0;
  };
  CHECK(fails("a", errc::quota) == 0);
  CHECK(fails("b", errc::auth) == 1);
  CHECK(fails("c", errc::rate) == 1);
  CHECK(fails("e", errc::cancelled) == 1); // called off before it was sent
  std::size_t counted = 1;
  for (auto code :
       {errc::capacity, errc::timed_out, errc::network, errc::protocol, errc::refused}) {
    auto now = fails("d" + std::to_string(counted), code);
    CHECK(now == ++counted);
  }
}

TEST_CASE("facts about money that make no sense are refused by name") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  tell_of_money(j);
  auto w = swarm_no(9);
  CHECK(put(j, w, {}, 1, swarm_budget_warned{50, 1, 5}) == errc::exists); // once each
  CHECK(put(j, {}, {}, 1, budget_warned{budget_scope::day, "1970-01-01", 50, 10, 20})
        == errc::exists);
  CHECK(put(j, {}, {}, 1, budget_set{budget_scope::swarm, 1}) == errc::bad_argument);
  CHECK(put(j, {}, {}, 1, budget_set{budget_scope::day, 1e300}) == errc::out_of_range);
  CHECK(put(j, w, {}, 1, budget_set{budget_scope::day, 1}) == errc::bad_frame);
  CHECK(put(j, w, sandbox_no(92), 1, model_spend{1, -1, 0, 0, 0}) == errc::out_of_range);
  CHECK(put(j, w, sandbox_no(99), 1, model_spend{1, 1, 0, 0, 0}) == errc::not_found);
  CHECK(put(j, w, sandbox_no(98), 1, sandbox_queued{0, "cloud", -1}) == errc::out_of_range);
}
