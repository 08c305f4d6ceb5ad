// A swarm that costs something, for tests of what was spent.
#pragma once

#include "tests/storage/support.hpp"

namespace skep::storage::testing {

inline constexpr std::int64_t hour_ms = 3'600'000;

inline swarm_created with_budget(double usd) {
  auto out = a_swarm();
  out.budget_usd = usd;
  out.pane_budget_usd = usd / 2;
  return out;
}

/// A swarm that costs something over two midnights: one sandbox counted by a gateway, one not, one
/// lost, one whose create failed at first, one that its provider refuses.
inline void tell_of_money(journal& j) {
  auto ok = [&](errc c) { REQUIRE(c == errc::none); };
  auto w = swarm_no(9);
  auto t = 20 * hour_ms;
  ok(put(j, {}, {}, t, budget_set{budget_scope::day, 20}, budget_set{budget_scope::month, 300}));
  ok(put(j, {}, {}, t + 1, budget_set{budget_scope::day, -1}));
  ok(put(j, w, {}, t, with_budget(5)));
  auto box = [&](int n, const char* intent) {
    auto s = sandbox_no(n);
    ok(put(j, w, s, t, sandbox_queued{static_cast<std::uint32_t>(n), "cloud", 0.10}));
    ok(put(j, w, s, t + n, create_intended{intent, "base", 1, 0.05}));
    ok(put(j, w, s, t + n,
           pane_created{pane_no(n), static_cast<std::uint32_t>(n), "p", agent_kind::claude, "b"}));
    return s;
  };
  auto counted = box(91, "m1");
  ok(put(j, w, counted, t + 100, sandbox_created{"m1", "r1", "0.2"}));
  ok(put(j, w, counted, t + 200, pane_usage{pane_no(91), 0.7, 1, 1, 1, ""}));
  ok(put(j, w, counted, t + 300, model_spend{2, 0.5, 1, 10, 20}, model_spend{3, 0.4, 0, 11, 21}));
  ok(put(j, w, counted, t + 400, pane_usage{pane_no(91), 0.1, 1, 1, 1, ""}));
  ok(put(j, w, counted, t + 28 * hour_ms + 7, kill_intended{"done"}, kill_confirmed{"r1"}));
  ok(put(j, w, counted, t + 28 * hour_ms + 9, model_spend{4, 0.9, 0, 12, 22}));
  auto told = box(92, "m2");
  ok(put(j, w, told, t + 100, sandbox_created{"m2", "r2", "0.2"}));
  ok(put(j, w, told, t + 200, pane_usage{pane_no(92), 0.3, 1, 1, 1, ""}));
  ok(put(j, w, told, t + 300, pane_budget_warned{pane_no(92), 50, 1.5, 2.5}));
  auto gone = box(93, "m3");
  ok(put(j, w, gone, t + 100, sandbox_created{"m3", "r3", "0.2"}));
  auto why = make_error(errc::gone);
  ok(put(j, w, gone, t + 200, pane_closed{pane_no(93), outcome::lost, why, 1, 0}));
  ok(put(j, w, gone, t + hour_ms, sandbox_closed{outcome::lost, why, false}));
  auto twice = box(94, "m4");
  ok(put(j, w, twice, t + 300, create_failed{"m4", why}, create_intended{"m5", "base", 1, 0.06}));
  auto refused = box(95, "m6");
  ok(put(j, w, refused, t + 300, create_failed{"m6", make_error(errc::quota)},
         create_intended{"m7", "base", 1, 0.06}, create_failed{"m7", make_error(errc::rate)},
         create_intended{"m8", "base", 1, 0.06}, create_failed{"m8", make_error(errc::cancelled)}));
  ok(put(j, w, {}, t + 400, swarm_budget_warned{50, 2.5, 5}, swarm_budget_warned{80, 4, 5}));
  ok(put(j, {}, {}, t + 500, budget_warned{budget_scope::day, "1970-01-01", 50, 10, 20}));
  ok(put(j, w, {}, t + 600, swarm_phase_changed{swarm_phase::stopping, "budget"}));
}

} // namespace skep::storage::testing
