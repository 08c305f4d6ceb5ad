// skep health: how well the daemon and what it runs do.
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace skep::cli {

namespace {

result<health_request> request_for(broker::control_client& daemon, const std::string& name) {
  health_request out;
  if (name.empty()) return out;
  if (name.starts_with(sandbox_id::sigil)) {
    out.sandbox.value = name;
    return out;
  }
  if (name.starts_with(pane_id::sigil) || name.find('/') != std::string::npos) {
    auto pane = find_pane(daemon, name);
    if (!pane) return pane.err();
    out.pane = pane->pane;
    return out;
  }
  auto swarm = find_swarm(daemon, name);
  if (!swarm) return swarm.err();
  out.swarm = *swarm;
  return out;
}

int health(const app& a, const std::string& name) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = reach_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto what = request_for(*daemon, name);
  if (!what) return fail(a, what.err());
  auto reply = daemon->call(*what, call_deadline);
  if (!reply) return fail(a, reply.err());
  if (a.json_mode)
    print_json(to_json(*reply));
  else
    std::fputs(health_text(*reply).c_str(), stdout);
  return static_cast<int>(reply->state);
}

} // namespace

void add_health(CLI::App& cli, app& a) {
  auto name = std::make_shared<std::string>();
  auto* one = add_command(cli, a, "health",
                          "Show how well skepd and what it runs do (0 healthy, 1 degraded, "
                          "2 not)",
                          "  skep health\n  skep health sw_x --json\n  skep health my-run/p0",
                          [&a, name] { return health(a, *name); });
  one->add_option("ID", *name, "A swarm, sandbox or pane; without it skepd and every open swarm");
}

} // namespace skep::cli
