// skep stop, skep kill: end swarms, with or without their results.
#include "broker/events_client.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <memory>
#include <set>

namespace skep::cli {

namespace {

struct stop_options {
  std::string swarm;
  bool all = false;
  bool wait = false;
};

/// Follows until every one of `swarms` is closed.
int wait_closed(const app& a, const storage::state_paths& paths, std::set<std::string> swarms) {
  signal_watch signals;
  auto daemon = reach_daemon(paths);
  if (!daemon) return fail(a, daemon.err());
  auto stream = broker::event_stream::follow(endpoints_of(paths), 0, {});
  if (!stream) return fail(a, stream.err());
  // Those that closed before the stream was joined.
  for (auto i = swarms.begin(); i != swarms.end();) {
    auto now = daemon->call(status_request{{*i}}, call_deadline);
    if (!now) return fail(a, now.err());
    i = now->swarm.state == swarm_phase::closed ? swarms.erase(i) : std::next(i);
  }
  while (!swarms.empty()) {
    if (signals.next() != 0) return exit_interrupted;
    auto e = stream->next(std::chrono::milliseconds{200});
    if (!e) return fail(a, e.err());
    if (*e && (*e)->event.type == event_traits<swarm_closed>::info.type)
      swarms.erase((*e)->swarm.value);
  }
  return 0;
}

int stop(const app& a, const stop_options& o, bool kill) {
  if (o.swarm.empty() != o.all)
    return fail(a, make_error(errc::bad_argument, "give a swarm, or --all"));
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  stop_request ask{{}, kill};
  if (!o.all) {
    auto swarm = find_swarm(*daemon, o.swarm);
    if (!swarm) return fail(a, swarm.err());
    ask.swarm = *swarm;
  }
  auto reply = daemon->call(ask, command_deadline, random_token(20));
  if (!reply) return fail(a, reply.err());
  if (a.json_mode) print_json(to_json(*reply));
  if (!a.json_mode && reply->swarms.empty()) print_line("Nothing runs.");
  std::set<std::string> asked;
  for (const auto& s : reply->swarms) {
    asked.insert(s.value);
    if (!a.json_mode)
      print_line(s.value + (kill ? " is being killed" : " is stopping; its results are kept"));
  }
  return o.wait ? wait_closed(a, *paths, asked) : 0;
}

} // namespace

void add_stop(CLI::App& cli, app& a) {
  for (bool kill : {false, true}) {
    auto o = std::make_shared<stop_options>();
    auto* c = kill
                  ? add_command(cli, a, "kill", "End a swarm at once, without collecting results",
                                "  skep kill sw_x\n  skep kill --all\n\n"
                                "Results and logs that are here stay; what running agents did and\n"
                                "nobody collected is lost. `skep stop` collects it first.",
                                [&a, o] { return stop(a, *o, true); })
                  : add_command(cli, a, "stop", "Stop a swarm: agents end, results are collected",
                                "  skep stop sw_x --wait\n  skep stop --all",
                                [&a, o] { return stop(a, *o, false); });
    c->add_option("SWARM", o->swarm, "Id, unique beginning of an id, or name");
    c->add_flag("--all", o->all, "Every swarm that runs");
    c->add_flag("--wait", o->wait, "Until they are closed");
  }
}

} // namespace skep::cli
