// Limits and budgets without an actor: what each rule says when it alone is tight.
#include "actors/run_rules.hpp"
#include "storage/reader.hpp"
#include "tests/storage/support.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>

using namespace skep;
using namespace skep::actors;
using namespace std::chrono_literals;

namespace {

constexpr utc_time at(std::chrono::milliseconds since_epoch) {
  return utc_time{since_epoch};
}
constexpr auto noon = at(24h * 365 + 12h);

provider_rules only(max_count provider_rules::*which, std::uint32_t most) {
  provider_rules out;
  out.section = "providers.cloud";
  out.*which = most;
  return out;
}

/// Creates every `apart`, the last one just now.
provider_load creates(std::size_t n, std::chrono::milliseconds apart) {
  provider_load out;
  for (std::size_t i = 0; i < n; ++i)
    out.creates.push_back(noon - apart * static_cast<std::int64_t>(n - 1 - i));
  return out;
}

} // namespace

TEST_CASE("a provider that costs money has the limits and the price of the plan") {
  auto r = metered_rules("providers.cloud");
  CHECK(r.usd_per_hour == 0.10);
  CHECK(r.max_active == 10u);
  CHECK(r.max_active_per_repo == 5u);
  CHECK(r.creates_per_minute == 10u);
  CHECK(r.creates_per_hour == 20u);
  CHECK(r.creates_per_day == 50u);
}

TEST_CASE("max_active holds what would be one more, and says when a lease ends") {
  auto rules = only(&provider_rules::max_active, 2);
  provider_load load;
  load.add("/a", noon);
  CHECK_FALSE(first_hold(rules, load, "/a", noon));
  load.add("/b", noon);
  load.lease_ends = {noon + 40s, noon + 90s};
  auto h = first_hold(rules, load, "/c", noon);
  REQUIRE(h);
  CHECK(h->rule == "max_active");
  CHECK(h->limit == 2);
  CHECK(h->count == 2);
  CHECK(h->wait == 40s);
  CHECK(h->setting == "providers.cloud.max_active");
  CHECK_FALSE(h->of_repo);
  CHECK(first_hold(rules, load, "/c", noon, 1)->wait == 90s); // one waits before it
  CHECK(first_hold(rules, load, "/c", noon, 2)->wait == 0s);  // nobody knows
  // One that is over is gone once the provider says so: it is asked at the REAPER's next look.
  CHECK(first_hold(rules, load, "/c", noon + 40s)->wait == policies{}.reap_interval);
  CHECK(first_hold(rules, load, "/c", noon + 1h, 1)->wait == policies{}.reap_interval);
  CHECK(refusal(*h).code == errc::quota);
  CHECK(refusal(*h).retry_after_ms == 40'000);
}

TEST_CASE("max_active_per_repo holds sandboxes of one repository alone") {
  auto rules = only(&provider_rules::max_active_per_repo, 1);
  provider_load load;
  load.add("/a", noon);
  auto h = first_hold(rules, load, "/a", noon);
  REQUIRE(h);
  CHECK(h->rule == "max_active_per_repo");
  CHECK(h->of_repo);
  CHECK_FALSE(first_hold(rules, load, "/b", noon));
}

TEST_CASE("the 11th creation in a minute, the 21st in an hour and the 51st in a day are held") {
  struct {
    max_count provider_rules::*which;
    const char* rule;
    std::uint32_t most;
    std::chrono::milliseconds window, apart;
  } rows[] = {{&provider_rules::creates_per_minute, "creates_per_minute", 10, 1min, 1s},
              {&provider_rules::creates_per_hour, "creates_per_hour", 20, 1h, 1min},
              {&provider_rules::creates_per_day, "creates_per_day", 50, 24h, 10min}};
  for (const auto& row : rows) {
    INFO(row.rule);
    auto rules = only(row.which, row.most);
    CHECK_FALSE(first_hold(rules, creates(row.most - 1, row.apart), "/a", noon));
    auto load = creates(row.most, row.apart);
    auto h = first_hold(rules, load, "/a", noon);
    REQUIRE(h);
    CHECK(h->rule == row.rule);
    CHECK(h->count == row.most);
    // The window slides with the clock: it goes on as the oldest one leaves it.
    CHECK(h->wait == load.creates.front() + row.window - noon);
    CHECK(first_hold(rules, load, "/a", noon + h->wait - 1ms));
    CHECK_FALSE(first_hold(rules, load, "/a", noon + h->wait));
    CHECK(first_hold(rules, load, "/a", noon, 1)->wait == h->wait + row.apart);
    CHECK(refusal(*h).code == errc::rate);
    CHECK(refusal(*h).message.find(row.rule) != std::string::npos);
  }
}

TEST_CASE("creates of a daemon whose clock was two days ahead fill a window for its length alone") {
  namespace st = storage::testing;
  st::temp_dir dir;
  auto j = st::open_journal(dir / "skep.db");
  auto create = [&](int n, utc_time when) {
    auto t = when.time_since_epoch().count();
    auto box = st::sandbox_no(n);
    REQUIRE(st::put(j, st::swarm_no(1), box, t,
                    sandbox_queued{static_cast<std::uint32_t>(n), "cloud", 0.10},
                    create_intended{"in" + std::to_string(n), "base", 1, 0.05})
            == errc::none);
  };
  auto two_days_ahead = noon + 48h;
  REQUIRE(storage::take_epoch(j, "1", 1, two_days_ahead).ok());
  REQUIRE(st::put(j, st::swarm_no(1), {}, two_days_ahead.time_since_epoch().count(), st::a_swarm())
          == errc::none);
  for (int n = 0; n < 10; ++n)
    create(n, two_days_ahead + n * 1s);
  REQUIRE(storage::take_epoch(j, "1", 2, noon).ok()); // the clock was put right
  auto tables = std::move(storage::reader::open(dir / "skep.db").value());
  auto load_at = [&](utc_time t) { return load_of(tables.spend(t).value(), "cloud"); };
  struct {
    max_count provider_rules::*which;
    std::chrono::milliseconds length;
  } windows[] = {{&provider_rules::creates_per_minute, 1min},
                 {&provider_rules::creates_per_hour, 1h},
                 {&provider_rules::creates_per_day, 24h}};
  for (const auto& w : windows) {
    auto rules = only(w.which, 10);
    auto h = first_hold(rules, load_at(noon + 1s), "/a", noon + 1s);
    REQUIRE(h);
    CHECK(h->wait == w.length - 1s);
    CHECK(first_hold(rules, load_at(noon + w.length - 1ms), "/a", noon + w.length - 1ms));
    CHECK_FALSE(first_hold(rules, load_at(noon + w.length), "/a", noon + w.length));
  }
  create(10, noon + 30s); // one of the present daemon stands behind them
  auto load = load_at(noon + 40s);
  REQUIRE(load.creates.size() == 11);
  CHECK(std::is_sorted(load.creates.begin(), load.creates.end()));
  CHECK(load.creates.front() == noon);
  CHECK(load.creates.back() == noon + 30s);
}

TEST_CASE("max_starting holds what would only make others late; it passes and refuses nobody") {
  auto rules = only(&provider_rules::max_starting, 2);
  storage::spend_state s;
  for (auto state : {phase::creating, phase::uploading, phase::starting, phase::running}) {
    storage::placed_sandbox x;
    x.provider = "cloud";
    x.state = state;
    s.placed.push_back(x);
  }
  auto load = load_of(s, "cloud");
  CHECK(load.active == 4);
  CHECK(load.starting == 2);
  auto h = first_hold(rules, load, "/a", noon);
  REQUIRE(h);
  CHECK(h->rule == "max_starting");
  CHECK(h->passing);
  CHECK(h->setting == "providers.cloud.max_starting");
  s.placed[0].kill_intended = true;
  CHECK_FALSE(first_hold(rules, load_of(s, "cloud"), "/a", noon));
  rules.max_active = 4; // who is refused for good is told that
  CHECK(first_hold(rules, load, "/a", noon)->rule == "max_active");
  CHECK_FALSE(first_hold(rules, load, "/a", noon)->passing);
  CHECK(metered_rules("providers.cloud").max_starting == 64u);
}

TEST_CASE("all limits are enforced together, and no limit is no hold") {
  auto rules = metered_rules("providers.cloud");
  auto load = creates(50, 10min);
  CHECK(first_hold(rules, load, "/a", noon)->rule == "creates_per_day");
  for (int i = 0; i < 5; ++i)
    load.add("/a", noon);
  CHECK(first_hold(rules, load, "/a", noon)->rule == "max_active_per_repo");
  for (int i = 0; i < 5; ++i)
    load.add("/b", noon);
  CHECK(first_hold(rules, load, "/c", noon)->rule == "max_active");
  CHECK_FALSE(first_hold(provider_rules{}, load, "/a", noon));
}

TEST_CASE("a run that could never be admitted is refused by the name of the rule") {
  swarm_spec spec;
  spec.sandboxes = 3;
  auto why = [&](const provider_rules& r, double reserved = 0) {
    auto e = never_fits(r, spec, spec.sandboxes, reserved);
    CHECK((!e || e.code == errc::never_fits));
    return e.message.substr(0, e.message.find(':'));
  };
  CHECK(why(provider_rules{}).empty());
  CHECK(why(only(&provider_rules::max_active, 0)) == "max_active");
  CHECK(why(only(&provider_rules::max_active_per_repo, 0)) == "max_active_per_repo");
  CHECK(why(only(&provider_rules::creates_per_minute, 0)) == "creates_per_minute");
  CHECK(why(only(&provider_rules::creates_per_hour, 0)) == "creates_per_hour");
  CHECK(why(only(&provider_rules::creates_per_day, 0)) == "creates_per_day");
  CHECK(why(only(&provider_rules::max_active, 2)).empty()); // one after the other
  spec.keep = true;                                         // none makes room
  CHECK(why(only(&provider_rules::max_active, 2)) == "max_active");
  CHECK(why(only(&provider_rules::max_active, 3)).empty());
  spec.keep = false;
  CHECK(why(only(&provider_rules::creates_per_hour, 1)) == "creates_per_hour"); // limit is 60 min
  spec.limit_ms = 3 * 3'600'000;
  CHECK(why(only(&provider_rules::creates_per_hour, 1)).empty());
  spec.budget_usd = 0.01;
  CHECK(why(provider_rules{}, 0.02) == "budget");
  CHECK(why(provider_rules{}, 0.01).empty());
  spec.budget_usd = 0;
  spec.pane_budget_usd = 0.01;
  spec.panes = 2;
  CHECK(why(provider_rules{}, 0.03) == "pane budget");
  CHECK(why(provider_rules{}, 0.02).empty());
}

TEST_CASE("what counts against max_active_per_repo is told of the repository that asks") {
  auto rules = only(&provider_rules::max_active_per_repo, 2);
  provider_load load;
  for (const auto* repo : {"/busy", "/busy", "/calm"})
    load.add(repo, noon);
  auto count = [&](const std::string& repo) {
    for (const auto& line : limit_lines("cloud", rules, load, noon, repo))
      if (line.rule == "max_active_per_repo") return line.count;
    return std::uint64_t{99};
  };
  CHECK(count("/busy") == 2);
  CHECK(count("/calm") == 1);
  CHECK(count("/new") == 0);
  CHECK(count("") == 2); // `skep budget` asks for no repository: the busiest
}

TEST_CASE("a run is refused by limits only where it does not queue, and never by the one that "
          "passes") {
  limit_table table;
  table.providers["cloud"] = only(&provider_rules::max_active_per_repo, 2);
  table.providers["cloud"].max_starting = 1;
  storage::spend_state state;
  storage::placed_sandbox x;
  x.provider = "cloud";
  x.repo = "/busy";
  x.state = phase::running;
  state.placed = {x, x};
  policies limits;
  run_question q{table, limits, state, load_of(state, "cloud"), {}, noon, {}};
  swarm_spec spec;
  spec.provider = "cloud";
  spec.repo = "/busy";
  CHECK_FALSE(refuse_run(spec, q)); // it waits
  spec.no_queue = true;
  CHECK(refuse_run(spec, q).code == errc::quota);
  q.makes_room = [](const hold& h) { return h.of_repo; };
  CHECK_FALSE(refuse_run(spec, q)); // a dead one goes
  q.makes_room = nullptr;
  spec.repo = "/calm";
  spec.sandboxes = 2;
  CHECK_FALSE(refuse_run(spec, q)); // one starts after the other, and nobody is refused for that
  spec.sandboxes = 3;
  auto plan = plan_of(spec, q);
  CHECK(plan.refused.code == errc::quota);
  CHECK(plan.refused.message.find("2 of 2 (max_active_per_repo)") == 0);
  CHECK(plan.limit_ms == spec.limit_ms);
  CHECK(plan.budgets.size() == 2);
  CHECK(passes("max_starting"));
  CHECK_FALSE(passes("max_active"));
}

TEST_CASE("a plan has the time limit that fits the provider, and is refused where none does") {
  limit_table table;
  storage::spend_state state;
  policies limits;
  limits.create_at["cloud"].lease_cap = 1h;
  run_question q{table, limits, state, {}, {}, noon, {}};
  swarm_spec spec;
  spec.provider = "cloud";
  spec.limit_ms = 2 * 3'600'000;
  auto plan = plan_of(spec, q);
  CHECK_FALSE(plan.refused);
  CHECK(plan.limit_ms == 3'300'000); // the hour without the lease's grace
  CHECK(plan.remarks.size() == 1);
  limits.create_at["cloud"].lease_cap = 300s;
  CHECK(plan_of(spec, q).refused.code == errc::out_of_range);
}

TEST_CASE("the time of a sandbox costs by the millisecond, from its intent until it is gone") {
  sandbox_record s;
  s.usd_per_hour = 0.10;
  CHECK(time_cost_usd(s, noon) == 0); // nothing was made
  s.charged_from = noon;
  CHECK(time_cost_usd(s, noon + 1h) == 0.10);
  CHECK(time_cost_usd(s, noon + 30s) > 0.0008); // minutes are not floored away
  CHECK(time_cost_usd(s, noon - 1h) == 0);      // a clock that was set back
  s.charged_until = noon + 30min;
  CHECK(time_cost_usd(s, noon + 24h) == 0.05);
  CHECK_FALSE(is_charged(s));
  s.model_cost_usd = 1;
  CHECK(cost_usd(s, noon + 24h) == 1.05);
}

TEST_CASE("a budget warns at 50 and 80 percent and ends early enough to pay for its end") {
  policies p; // wind down 60 s, kill 5 s
  budget_view b;
  CHECK(warning_level(b) == 0); // none
  CHECK(judge(b, p) == budget_step::none);
  b.limit_usd = 1;
  b.usd_per_hour = 36; // a cent a second
  b.spent_usd = 0.3999;
  CHECK(judge(b, p) == budget_step::none);
  CHECK(warning_level(b) == 0);
  b.spent_usd = 0.40; // 60 s before the cap
  CHECK(judge(b, p) == budget_step::wind_down);
  b.spent_usd = 0.50;
  CHECK(warning_level(b) == 50);
  b.spent_usd = 0.80;
  CHECK(warning_level(b) == 80);
  b.spent_usd = 0.9499;
  CHECK(judge(b, p) == budget_step::wind_down);
  b.spent_usd = 0.95; // 5 s before the cap
  CHECK(judge(b, p) == budget_step::kill);
  b.usd_per_hour = 0; // models alone
  b.spent_usd = 0.999;
  CHECK(judge(b, p) == budget_step::none);
  b.spent_usd = 1;
  CHECK(judge(b, p) == budget_step::wind_down);
  b.spent_usd = 100; // there is no time to save
  CHECK(judge(b, p) == budget_step::wind_down);
}

TEST_CASE("a swarm is killed for its budget where its time costs, else once winding down is over") {
  policies p; // wind down 60 s, kill 5 s
  budget_view b;
  b.limit_usd = 1;
  b.spent_usd = b.model_usd = 2;
  CHECK_FALSE(kill_is_due(b, 0, 59'999ms, p));
  CHECK(kill_is_due(b, 0, 60s, p));
  b.usd_per_hour = 36; // of a day: others' time goes on
  CHECK_FALSE(kill_is_due(b, 0, 59'999ms, p));
  CHECK_FALSE(kill_is_due(b, 36, 4'999ms, p)); // models jumped over the wind-down
  CHECK(kill_is_due(b, 36, 5s, p));
  b.model_usd = 0;
  CHECK(kill_is_due(b, 36, 0s, p));
  b.spent_usd = 0.9499; // it has 5 s and more
  CHECK_FALSE(kill_is_due(b, 36, 24h, p));
  b.spent_usd = 0;
  b.unpriced_calls = 1;
  CHECK(judge(b, p) == budget_step::wind_down);
  CHECK_FALSE(kill_is_due(b, 36, 24h, p));
  b.limit_usd = -1;
  CHECK(judge(b, p) == budget_step::none);
}

TEST_CASE("calls without a known price stand in the budgets of a day and a month, too") {
  storage::spend_state s;
  for (std::uint64_t calls : {0u, 2u, 3u}) {
    storage::placed_sandbox x;
    x.unpriced_calls = calls;
    s.placed.push_back(x);
  }
  auto shared = shared_budgets(s, limit_table{}, noon);
  REQUIRE(shared.size() == 2);
  for (const auto& b : shared)
    CHECK(b.unpriced_calls == 5);
}

TEST_CASE("a reservation is free of what is spent and of what others have reserved") {
  policies p;
  auto reserved = reserve_of(36, p);
  CHECK(reserved == 1.2); // twice the 60 s of winding down
  budget_view b;
  CHECK_FALSE(room_for(b, reserved)); // no budget
  b.limit_usd = 2.4;
  CHECK_FALSE(room_for(b, reserved));
  b.reserved_usd = 1.2;
  CHECK_FALSE(room_for(b, reserved));
  b.spent_usd = 0.01;
  CHECK(room_for(b, reserved).code == errc::budget_spent);
  b = {};
  b.limit_usd = 0;
  CHECK(room_for(b, 0).code == errc::budget_spent); // nothing may be spent
}

TEST_CASE("day and month count what was settled and the time of what is there") {
  storage::spend_state s;
  s.day_time_usd = 1;
  s.day_model_usd = 2;
  s.month_time_usd = 10;
  s.month_model_usd = 20;
  storage::placed_sandbox x;
  x.usd_per_hour = 1;
  x.charged_from = noon - 24h; // 12 h of it were yesterday
  x.reserved_usd = 30;
  s.placed.push_back(x);
  limit_table table;
  table.day_usd = 50;
  auto views = shared_budgets(s, table, noon);
  REQUIRE(views.size() == 2);
  CHECK(views[0].spent_usd == 15);
  CHECK(views[0].model_usd == 2);
  CHECK(views[0].reserved_usd == 6); // 24 of the 30 are spent
  CHECK(views[0].usd_per_hour == 1);
  CHECK(views[0].limit_usd == 50);
  CHECK(views[0].set_by == "skep.toml");
  CHECK(views[0].id == storage::day_name(noon));
  CHECK_FALSE(views[1].in_force());
  s.set_limits[budget_scope::day] = -1; // a command goes before the file
  s.set_limits[budget_scope::month] = 40;
  views = shared_budgets(s, table, noon);
  CHECK_FALSE(views[0].in_force());
  CHECK(views[1].limit_usd == 40);
  CHECK(views[1].set_by == "command");
}

TEST_CASE("days and months are those of UTC") {
  auto t =
      at(std::chrono::sys_days{std::chrono::year{2026} / 2 / 28}.time_since_epoch() + 23h + 59min);
  CHECK(storage::day_name(t) == "2026-02-28");
  CHECK(storage::month_name(t) == "2026-02");
  CHECK(storage::day_name(t + 1min) == "2026-03-01");
  CHECK(storage::month_begin(t + 1min) == t + 1min);
  CHECK(storage::day_begin(t) == t - 23h - 59min);
}

TEST_CASE("a pane costs its agent's account and an even share of time and of what no agent told") {
  sandbox_record box;
  box.usd_per_hour = 2;
  box.charged_from = noon;
  pane_record a, b;
  a.cost_usd = 1;
  b.state = pane_phase::closed;
  b.closed_at = noon + 30min;
  std::vector<pane_record> all{a, b};
  CHECK(pane_cost_usd(a, all, box, noon + 1h) == 2);   // 1, and half of 2
  CHECK(pane_cost_usd(b, all, box, noon + 1h) == 0.5); // its time is over
  box.model_cost_usd = 3;                              // the gateway saw 2 more than was told
  CHECK(pane_cost_usd(a, all, box, noon + 1h) == 3);
}
