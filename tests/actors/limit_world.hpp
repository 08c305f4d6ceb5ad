// The whole tree with limits and budgets in force.
#pragma once

#include "actors/slewed_clock.hpp"
#include "tests/actors/tree_fixture.hpp"

namespace skep::test {

struct limit_world : tree_world {
  limit_table rules;

  limit_world() {
    spec->provider = "cloud";
    rules.providers["cloud"].section = "providers.cloud";
    api->now = [this] { return svc->wall_now(); };
  }
  /// The daemon's clock as skepd has it: from now on `wall_jump` sets the system's alone.
  void slew_the_clock() {
    auto clock = std::make_shared<slewed_clock>(svc->wall_now, svc->boot_now);
    svc->wall_now = [clock] { return clock->now(); };
  }
  provider_rules& rule() { return rules.providers["cloud"]; }
  /// Starts the daemon with these rules.
  void begin() {
    svc->rules = std::make_shared<const limit_table>(rules);
    start();
  }
  /// The budget's line as `skep budget` shows it.
  budget_line budget(budget_scope scope) {
    auto shown = call(budget_request{});
    REQUIRE(shown);
    for (const auto& b : shown->budgets)
      if (b.scope == scope) return b;
    FAIL("no such budget");
    return {};
  }
};

} // namespace skep::test
