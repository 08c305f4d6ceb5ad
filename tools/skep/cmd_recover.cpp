// skep recover --plan: what the next skepd does with the state it finds, without doing it.
#include "storage/files.hpp"
#include "storage/recovery_plan.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/provider_ask.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <set>

namespace skep::cli {

namespace {

using storage::recovery_plan;
using storage::recovery_step;

struct recover_options {
  bool plan = false;
  bool ask = false;
  std::string config_file;
};

/// The answer of one provider goes to every step about one of its sandboxes; what it has beyond
/// them is an orphan.
void ask_one(const std::string& name, const tools::config& settings,
             const storage::state_paths& paths, const std::string& install,
             const std::set<std::string>& known, recovery_plan& plan) {
  auto provider = provider_ask::of(name, settings, paths, install, call_deadline);
  std::vector<recovery_step> orphans;
  for (auto& step : plan.steps) {
    if (step.provider != name) continue;
    if (!provider) {
      if (!step.remote_id.empty() || step.action == "look_for_orphans")
        step.at_provider = render(provider.err());
      continue;
    }
    if (step.action != "look_for_orphans") {
      if (!step.remote_id.empty()) step.at_provider = provider->about(step.remote_id);
      continue;
    }
    auto ours = provider->ours();
    if (!ours) {
      step.at_provider = render(ours.err());
      continue;
    }
    auto strangers = std::count_if(ours->begin(), ours->end(),
                                   [&](const auto& x) { return !known.contains(x.remote_id); });
    step.at_provider = std::to_string(ours->size()) + " of ours, "
                       + (strangers == 0 ? "all known" : std::to_string(strangers) + " unknown");
    for (const auto& x : *ours) {
      if (known.contains(x.remote_id)) continue;
      recovery_step kill;
      kill.action = "kill_orphan";
      kill.provider = name;
      kill.remote_id = x.remote_id;
      if (auto i = x.metadata.find("skep.sandbox"); i != x.metadata.end())
        kill.sandbox = {i->second};
      kill.text = "bears our label and nobody knows it, unless an unanswered create was this one";
      kill.at_provider = "there";
      orphans.push_back(std::move(kill));
    }
  }
  plan.steps.insert(plan.steps.end(), orphans.begin(), orphans.end());
}

/// The daemon asks them, too, once after its start: a restored backup may lack sandboxes.
void add_configured(const tools::config& settings, const storage::state_paths& paths,
                    recovery_plan& plan) {
  for (const auto& [name, entry] : settings.providers) {
    auto looked_at = std::any_of(plan.steps.begin(), plan.steps.end(), [&](const auto& s) {
      return s.action == "look_for_orphans" && s.provider == name;
    });
    if (looked_at || !storage::secret_store{paths}.has(entry.key_secret)) continue;
    recovery_step look;
    look.action = "look_for_orphans";
    look.provider = name;
    look.text = "what bears our label and nobody knows is ended after the grace time";
    plan.steps.push_back(std::move(look));
  }
}

error ask_providers(const recover_options& opt, const storage::state_paths& paths,
                    recovery_plan& plan) {
  auto settings = opt.config_file.empty() ? tools::load_config_of(paths.root)
                                          : tools::load_config(opt.config_file, true);
  if (!settings) return settings.err();
  auto install = storage::look_at_install(paths);
  if (!install) return install.err();
  add_configured(*settings, paths, plan);
  std::set<std::string> providers, known;
  for (const auto& step : plan.steps) {
    if (!step.provider.empty()) providers.insert(step.provider);
    if (!step.remote_id.empty()) known.insert(step.remote_id);
  }
  auto r = storage::reader::open(paths.database());
  if (r)
    if (auto living = r->living_sandboxes())
      for (const auto& box : *living) // kept ones, too
        known.insert(box.remote_id);
  for (const auto& name : providers)
    ask_one(name, *settings, paths, *install, known, plan);
  return {};
}

void show(const recovery_plan& plan, bool asked) {
  if (plan.daemon_pid != 0)
    remark("skepd runs (process " + std::to_string(plan.daemon_pid)
           + ") and looks after all this; so would the next one if it ended now:");
  if (!plan.last_failure.empty())
    remark("The last skepd had to end: " + safe_line(plan.last_failure));
  if (plan.steps.empty()) return print_line("Nothing is to be recovered.");
  std::vector<std::vector<std::string>> rows{{"ACTION", "WHAT", "PROVIDER", "STATE"}};
  if (asked) rows[0].emplace_back("THERE");
  rows[0].emplace_back("WHY");
  for (const auto& s : plan.steps) {
    auto what = !s.pane.empty()      ? s.pane.value
                : !s.sandbox.empty() ? s.sandbox.value
                                     : s.swarm.value;
    if (what.empty()) what = s.remote_id;
    rows.push_back({s.action, what.empty() ? "-" : safe_line(what),
                    s.provider.empty() ? "-" : safe_line(s.provider),
                    s.state.empty() ? "-" : s.state});
    if (asked) rows.back().push_back(s.at_provider.empty() ? "-" : safe_line(s.at_provider, 60));
    rows.back().push_back(safe_line(s.text));
  }
  std::fputs(table(rows).c_str(), stdout);
  if (plan.daemon_pid == 0)
    remark("Nothing was done. `skep daemon start` does it, as epoch " + std::to_string(plan.epoch)
           + ".");
}

int recover(const app& a, const recover_options& opt) {
  if (!opt.plan)
    return fail(a, make_error(errc::bad_argument,
                              "recovery is what every start of skepd does by itself: `skep recover "
                              "--plan` shows what, `skep daemon start` does it"));
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto plan = storage::plan_recovery(*paths, storage::now());
  if (!plan) return fail(a, plan.err());
  const bool first_ever = plan->steps.empty() && plan->epoch <= 1;
  if (opt.ask && !first_ever)
    if (auto e = ask_providers(opt, *paths, *plan)) return fail(a, e);
  if (a.json_mode)
    print_json(to_json(*plan));
  else
    show(*plan, opt.ask);
  return 0;
}

} // namespace

void add_recover(CLI::App& cli, app& a) {
  auto opt = std::make_shared<recover_options>();
  auto* c = add_command(cli, a, "recover", "Show what the next skepd takes up, ends and sweeps",
                        "  skep recover --plan\n  skep recover --plan --ask --json",
                        [&a, opt] { return recover(a, *opt); });
  c->add_flag("--plan", opt->plan, "Read the state directory and print what would be done");
  c->add_flag("--ask", opt->ask,
              "Ask providers, too, which sandboxes are there (looks, changes nothing)");
  c->add_option("--config", opt->config_file,
                "Configuration file of --ask (default: $SKEP_CONFIG or STATE/skep.toml)");
}

} // namespace skep::cli
