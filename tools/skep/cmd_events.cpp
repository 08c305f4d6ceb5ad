// skep events: the journal, from any sequence on, and what comes next.
#include "broker/events_client.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <ctime>
#include <memory>

namespace skep::cli {

namespace {

struct events_options {
  bool follow = false;
  std::uint64_t from = 0;
  bool from_given = false;
  std::string swarm;
  std::string sandbox;
};

std::string clock_text(utc_time t) {
  auto ms = t.time_since_epoch().count();
  std::time_t s = ms / 1000;
  std::tm parts{};
  ::localtime_r(&s, &parts);
  char out[32];
  auto n = std::strftime(out, sizeof out, "%H:%M:%S", &parts);
  std::snprintf(out + n, sizeof out - n, ".%03d", static_cast<int>(ms % 1000));
  return out;
}

void show(const app& a, const broker::received_event& e) {
  auto j = broker::to_json(e);
  if (a.json_mode) return print_json(j);
  std::string where = e.swarm.empty() ? "-" : e.swarm.value;
  if (!e.sandbox.empty()) where += "/" + e.sandbox.value;
  auto body = j.contains("body") ? to_line(j["body"]) : std::string{};
  print_line(std::to_string(e.seq) + "  " + style(stdout, tint::dim, clock_text(e.event.at)) + "  "
             + style(stdout, tint::cyan, j["type"].get<std::string>()) + "  " + where + "  "
             + safe_line(body, 400));
}

int events(const app& a, const events_options& o) {
  signal_watch signals;
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail_unless_left(a, signals, daemon.err());
  broker::selector what;
  if (!o.swarm.empty()) {
    auto swarm = find_swarm(*daemon, o.swarm);
    if (!swarm) return fail(a, swarm.err());
    what.swarm = *swarm;
  }
  what.sandbox.value = o.sandbox;
  if (!o.sandbox.empty() && (!what.sandbox.valid() || o.swarm.empty()))
    return fail(a, make_error(errc::bad_argument,
                              "--sandbox takes an id (sb_...) and needs --swarm as well"));
  auto from = o.from_given ? std::max<std::uint64_t>(1, o.from) : o.follow ? 0 : 1;
  auto stream = broker::event_stream::follow(endpoints_of(*paths), from, what);
  if (!stream) return fail(a, stream.err());
  auto last = stream->head();
  bool told_away = false;
  for (;;) {
    if (auto s = signals.next(); s != 0) return exit_code_of_signal(s);
    // Without -f: everything that was there at the start; the stream is silent only behind it.
    auto e = stream->next(std::chrono::milliseconds{o.follow ? 200 : 0});
    if (!e) {
      // The stream keeps its place: going on shows the same events as if nothing had happened.
      if (!o.follow || !daemon_may_return(e.err().code)) return fail(a, e.err());
      bool busy = e.err().code == errc::timed_out || e.err().code == errc::rate;
      if (!told_away)
        remark(busy ? "skepd does not answer in time; asking again"
                    : "skepd is away; waiting for it");
      told_away = true;
      signals.wait(std::chrono::milliseconds{200});
      continue;
    }
    if (!*e) {
      if (!o.follow) return 0;
      continue;
    }
    told_away = false;
    if (!o.follow && (*e)->seq > last) return 0;
    show(a, **e);
    if (auto lost = flush_output()) return info(lost.code).exit_code;
    if (!o.follow && (*e)->seq == last) return 0;
  }
}

} // namespace

void add_events(CLI::App& cli, app& a) {
  auto o = std::make_shared<events_options>();
  auto* c = add_command(cli, a, "events", "Show the journal's events",
                        "  skep events --swarm sw_x\n  skep events -f\n"
                        "  skep events --from 1 --json > history.jsonl",
                        [&a, o] { return events(a, *o); });
  c->add_flag("-f,--follow", o->follow, "Go on with what happens (without --from: only that)");
  c->add_option_function<std::uint64_t>(
      "--from",
      [o](std::uint64_t n) {
        o->from = n;
        o->from_given = true;
      },
      "First sequence to show");
  c->add_option("--swarm", o->swarm, "Only this swarm");
  c->add_option("--sandbox", o->sandbox, "Only this sandbox of --swarm");
}

} // namespace skep::cli
