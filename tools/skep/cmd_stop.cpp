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

/// What has still to be closed of what was asked to end.
class closing {
public:
  closing(const storage::state_paths& paths, broker::control_client& daemon,
          std::set<std::string> swarms)
      : where_(endpoints_of(paths)), daemon_(daemon), left_(std::move(swarms)) {}

  bool done() const { return left_.empty(); }

  /// Waits a moment for the next one. The stream is joined before it is asked who has closed, so
  /// that nobody closes in between.
  error step() {
    if (!stream_) {
      auto joined = broker::event_stream::follow(where_, 0, {});
      if (!joined) return joined.err();
      stream_ = std::make_unique<broker::event_stream>(std::move(*joined));
      return look();
    }
    auto e = stream_->next(std::chrono::milliseconds{200});
    if (!e) {
      stream_.reset();
      return e.err();
    }
    if (!*e) return {};
    if ((*e)->event.type == event_traits<swarm_closed>::info.type) left_.erase((*e)->swarm.value);
    return {};
  }

  /// None when waiting goes on after this failure of a step: daemons come and go, and whoever asks
  /// has the next one started.
  error recover(error e) {
    constexpr int most_absences = 5;
    if (!daemon_may_return(e.code)) return e;
    e = look();
    absences_ = e ? absences_ + 1 : 0;
    return daemon_may_return(e.code) && absences_ < most_absences ? error{} : e;
  }

private:
  error look() {
    for (auto i = left_.begin(); i != left_.end();) {
      auto now = daemon_.call_paced(status_request{{*i}}, call_deadline);
      if (!now) return now.err();
      i = now->swarm.state == swarm_phase::closed ? left_.erase(i) : std::next(i);
    }
    return {};
  }

  broker::endpoints where_;
  broker::control_client& daemon_;
  std::set<std::string> left_;
  std::unique_ptr<broker::event_stream> stream_;
  int absences_ = 0; ///< Looks in a row that found no daemon.
};

/// Waits until every one of `swarms` is closed, whatever becomes of the daemon meanwhile.
int wait_closed(const app& a, signal_watch& signals, closing swarms) {
  while (!swarms.done()) {
    if (auto s = signals.next(); s != 0) return exit_code_of_signal(s);
    auto e = swarms.step();
    if (!e) continue;
    if (auto lasting = swarms.recover(e)) return fail_unless_left(a, signals, lasting);
    signals.wait(std::chrono::milliseconds{200});
  }
  return 0;
}

/// Why a stop was refused, and what ends the sandboxes that its run has left up: a stop means only
/// what has not ended.
error with_kept(broker::control_client& daemon, const swarm_id& swarm, error why) {
  if (why.code != errc::wrong_phase) return why;
  auto now = daemon.call(status_request{swarm}, call_deadline);
  if (!now) return why;
  for (const auto& line : kept_lines(kept_of(now->sandboxes), wall_clock()))
    why.message += "; " + line;
  return why;
}

int stop(const app& a, const stop_options& o, bool kill) {
  const bool named = !o.swarm.empty() && o.swarm != of_work_tree;
  if (o.all ? named : o.swarm.empty())
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
  if (!reply) return fail(a, o.all ? reply.err() : with_kept(*daemon, ask.swarm, reply.err()));
  if (a.json_mode) print_json(to_json(*reply));
  if (!a.json_mode && reply->swarms.empty()) print_line("Nothing runs.");
  std::set<std::string> asked;
  for (const auto& s : reply->swarms) {
    asked.insert(s.value);
    if (!a.json_mode)
      print_line(s.value + (kill ? " is being killed" : " is stopping; its results are kept"));
  }
  if (!o.wait) return 0;
  signal_watch signals;
  return wait_closed(a, signals, closing{*paths, *daemon, std::move(asked)});
}

} // namespace

void add_stop(CLI::App& cli, app& a) {
  for (bool kill : {false, true}) {
    auto o = std::make_shared<stop_options>();
    if (!kill) o->swarm = of_work_tree; // it may be left out, since a stop loses nothing
    auto* c = kill
                  ? add_command(cli, a, "kill", "End a swarm at once, without collecting results",
                                "  skep kill sw_x\n  skep kill --all\n\n"
                                "Results and logs that are here stay; what running agents did and\n"
                                "nobody collected is lost. `skep stop` collects it first.\n"
                                "Kept sandboxes end, too; `skep panic sb_x` ends one alone.",
                                [&a, o] { return stop(a, *o, true); })
                  : add_command(cli, a, "stop", "Stop a swarm: agents end, results are collected",
                                "  skep stop --wait\n  skep stop sw_x\n  skep stop --all",
                                [&a, o] { return stop(a, *o, false); });
    c->add_option("SWARM", o->swarm, kill ? a_swarm : or_here(a_swarm));
    c->add_flag("--all", o->all,
                kill ? "Every swarm that runs, and every sandbox that was kept"
                     : "Every swarm that runs");
    c->add_flag("--wait", o->wait, "Until they are closed");
  }
}

} // namespace skep::cli
