// The whole tree where time costs a cent a second, and models what a test says they do.
#pragma once

#include "tests/actors/limit_world.hpp"

namespace skep::test {

struct budget_world : limit_world {
  budget_world() {
    rule().usd_per_hour = 36; // a cent a second
    svc->counts_models = [](const std::string&) { return true; };
    svc->knows_price = [](const std::string& model) { return model.starts_with("known"); };
  }
  /// What the provider's record says was charged once all is gone.
  double charged(const swarm_id& id) {
    double sum = 0;
    for (const auto& s : sandboxes(id)) {
      REQUIRE(s.charged_until != utc_time{});
      sum += cost_usd(s, s.charged_until);
    }
    return sum;
  }
  /// The agents end when they are interrupted, as good ones do.
  void polite_agents() {
    guest["signal"] = [this](const sandbox::command& c) -> result<command_result> {
      interrupted.push_back(c.argv.back());
      return said("{}\n");
    };
  }
  /// Who takes no notice of a stop is left alone for an hour.
  void long_grace() { svc->limits.stop_grace = 3600s; }
  void use_a_model() {
    spec->agent = agent_kind::claude;
    spec->argv.clear();
    spec->prompts = {"work"};
    api->counts_models = true;
  }
  /// Time costs nothing, and models do.
  void only_models_cost() {
    rule().usd_per_hour = 0;
    use_a_model();
  }
  /// Starts the daemon and a run, and lets it come up.
  swarm_id begin_run() {
    begin();
    return run();
  }
  /// The sandbox of a run that has one, as its provider knows it.
  auto& box_of(const swarm_id& id) { return api->boxes.at(only_sandbox(id).remote_id); }
  /// Whosever budget: of the runs that are begun from now on, or of all of them.
  void cap(budget_scope scope, double usd) {
    switch (scope) {
    case budget_scope::day:
      rules.day_usd = usd;
      break;
    case budget_scope::month:
      rules.month_usd = usd;
      break;
    case budget_scope::swarm:
      spec->budget_usd = usd;
      break;
    case budget_scope::pane:
      spec->pane_budget_usd = usd;
    }
  }
  /// The patch of the run's first pane is here.
  bool has_results(const swarm_id& id) {
    return std::filesystem::exists(std::filesystem::path{spec->out_dir} / id.value / "p0.patch");
  }
  /// Steps of 250 ms until the run stops, 10 s at the most.
  void until_it_stops(const swarm_id& id) {
    for (int i = 0; i < 40 && swarm(id).state == swarm_phase::running; ++i)
      advance(250ms);
    REQUIRE(swarm(id).state == swarm_phase::stopping);
  }
  strings interrupted;
};

} // namespace skep::test
