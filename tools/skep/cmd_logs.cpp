// skep logs: the output of a pane, or of all panes of a swarm.
#include "broker/output_client.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/log_view.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace skep::cli {

namespace {

struct logs_options {
  std::string target;
  bool follow = false;
  bool raw = false;
  std::uint32_t tail = 100;
  std::uint64_t tail_bytes = 0; ///< 0: by lines.
  std::int64_t from = -1;
};

/// The panes that `target` means.
result<std::vector<found_pane>> panes_of(broker::control_client& daemon,
                                         const std::string& target) {
  if (target.starts_with("pn_") || target.find('/') != std::string::npos) {
    auto p = find_pane(daemon, target);
    if (!p) return p.err();
    return std::vector{*p};
  }
  auto swarm = find_swarm(daemon, target);
  if (!swarm) return swarm.err();
  auto status = daemon.call(status_request{*swarm}, call_deadline);
  if (!status) return status.err();
  std::vector<found_pane> out;
  for (const auto& p : status->panes)
    out.push_back({p.swarm, p.sandbox, p.pane, p.agent, p.state, p.name});
  if (out.empty()) return make_error(errc::no_such_pane, target + " has no pane yet");
  return out;
}

/// Where the last `lines` lines of a log begin; 0 for all of a short one.
result<std::int64_t> tail_offset(broker::control_client& daemon, const pane_id& pane,
                                 std::uint32_t lines) {
  constexpr std::uint32_t look_bytes = 256 * 1024;
  auto end = daemon.call(
      log_read_request{pane, 0, -static_cast<std::int64_t>(look_bytes), look_bytes}, call_deadline);
  if (!end) return end.err();
  const auto& text = end->data.data;
  auto at = text.size();
  if (at > 0 && text[at - 1] == '\n') --at;
  for (; lines > 0 && at > 0; --lines) {
    auto newline = text.rfind('\n', at - 1);
    if (newline == std::string::npos) return static_cast<std::int64_t>(end->offset);
    at = newline;
  }
  return static_cast<std::int64_t>(end->offset + (lines == 0 && at < text.size() ? at + 1 : at));
}

bool all_closed(broker::control_client& daemon, const std::vector<found_pane>& panes) {
  auto status = daemon.call(status_request{panes.front().swarm}, call_deadline);
  if (!status) return false;
  for (const auto& p : status->panes)
    for (const auto& mine : panes)
      if (p.pane == mine.pane && p.state != pane_phase::closed) return false;
  return true;
}

int logs(const app& a, const logs_options& o) {
  signal_watch signals;
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto panes = panes_of(*daemon, o.target);
  if (!panes) return fail(a, panes.err());
  broker::selector what{panes->front().swarm, {}};
  if (panes->size() == 1) what.sandbox = panes->front().sandbox;
  auto out = broker::output_stream::open(endpoints_of(*paths), what);
  if (!out) return fail(a, out.err());
  log_view view{a.json_mode, o.raw, *panes};
  for (const auto& p : *panes) {
    std::int64_t from = o.from;
    // The daemon finds the place, at the beginning of a character.
    if (from < 0 && o.tail_bytes > 0)
      from = -static_cast<std::int64_t>(o.tail_bytes);
    else if (from < 0) {
      auto tail = tail_offset(*daemon, p.pane, o.tail);
      // A pane that has not started has no log yet.
      if (!tail && tail.err().code != errc::not_found && tail.err().code != errc::no_such_pane)
        return fail(a, tail.err());
      from = tail ? *tail : 0;
    }
    out->watch(p.pane, from);
  }
  auto next_look = std::chrono::steady_clock::now();
  for (;;) {
    if (auto s = signals.next(); s != 0) return s == SIGHUP ? exit_hangup : exit_interrupted;
    auto piece = out->next(std::chrono::milliseconds{o.follow ? 200 : 0});
    if (!piece) {
      bool away = piece.err().code == errc::no_daemon || piece.err().code == errc::shutting_down;
      bool none_yet = piece.err().code == errc::not_found;
      if (!o.follow && none_yet) return 0;
      if (!o.follow || !(away || none_yet)) return fail(a, piece.err());
      signals.wait(std::chrono::milliseconds{200});
      continue;
    }
    if (*piece) {
      view.show(**piece);
      continue;
    }
    auto now = std::chrono::steady_clock::now();
    bool look = o.follow && out->done() && now >= next_look;
    if (look) next_look = now + std::chrono::seconds{1};
    if (!o.follow || (look && all_closed(*daemon, *panes))) {
      view.finish();
      return 0;
    }
  }
}

} // namespace

void add_logs(CLI::App& cli, app& a) {
  auto o = std::make_shared<logs_options>();
  auto* c = add_command(cli, a, "logs", "Show the output of a pane, or of all panes of a swarm",
                        "  skep logs -f sw_x/p0\n  skep logs pn_y --tail 1000\n"
                        "  skep logs sw_x --from 0 --raw > all.log",
                        [&a, o] { return logs(a, *o); });
  c->add_option("TARGET", o->target, "Pane (pn_... or SWARM/NAME) or swarm")->required();
  c->add_flag("-f,--follow", o->follow, "Go on until the agent ends");
  auto* lines =
      c->add_option("--tail", o->tail, "Begin so many lines before the end")->capture_default_str();
  c->add_option("--tail-bytes", o->tail_bytes,
                "Begin so many bytes before the end, at a whole character")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40U))
      ->excludes(lines);
  c->add_option("--from", o->from, "Begin at this byte of the newest attempt's log")
      ->check(CLI::NonNegativeNumber);
  c->add_flag("--raw", o->raw, "Bytes as they are, also to a terminal");
}

} // namespace skep::cli
