// skep logs: the output of a pane, or of all panes of a swarm.
#include "broker/output_client.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/log_tail.hpp"
#include "tools/skep/log_view.hpp"
#include "tools/skep/signals.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <set>

namespace skep::cli {

namespace {

struct logs_options {
  std::string target = of_work_tree;
  bool follow = false;
  bool raw = false;
  std::uint32_t tail = 100;
  std::uint64_t tail_bytes = 0; ///< 0: by lines.
  std::int64_t from = -1;
};

/// What the user named: one pane, or a swarm with all that it has.
struct logs_target {
  swarm_id swarm;
  sandbox_id sandbox; ///< Of the one pane; empty: the whole swarm.
  std::vector<found_pane> panes;
  bool names = false; ///< There are several panes, or there will be.
};

result<logs_target> target_of(broker::control_client& daemon, const logs_options& o) {
  if (o.target.starts_with("pn_") || o.target.find('/') != std::string::npos) {
    auto p = find_pane(daemon, o.target);
    if (!p) return p.err();
    return logs_target{p->swarm, p->sandbox, {*p}, false};
  }
  auto swarm = find_swarm(daemon, o.target);
  if (!swarm) return swarm.err();
  auto status = daemon.call(status_request{*swarm}, call_deadline);
  if (!status) return status.err();
  logs_target out{*swarm, {}, {}, false};
  for (const auto& p : status->panes)
    out.panes.push_back(found_from(p));
  out.names = out.panes.size() > 1;
  if (o.follow) // what is not there yet will come
    out.names = out.names || status->swarm.sandboxes * status->swarm.panes > 1;
  else if (out.panes.empty())
    return make_error(errc::no_such_pane, swarm->value + " has no pane yet");
  return out;
}

/// What following gets over: a daemon that is away or busy, a log that is not there yet.
bool may_pass(errc code) {
  return daemon_may_return(code) || code == errc::not_found;
}

/// Shows the logs of a target, one piece a step.
class logs_session {
public:
  logs_session(bool json_mode, const logs_options& o, const logs_target& t,
               broker::control_client& daemon, broker::output_stream out)
      : options_(o), target_(t), daemon_(daemon), out_(std::move(out)),
        view_(json_mode, o.raw, t.names) {}

  /// Watches a pane that is there at the start, from where the options say.
  error begin(const found_pane& p) {
    auto from = first_byte(p.pane);
    if (!from) return from.err();
    watch(p, from->offset, from->generation);
    return {};
  }

  /// Shows the next piece, or finds out whether more is to come.
  error step() {
    if (auto e = look()) return e;
    auto piece = out_.next(options_.follow ? poll_every : std::chrono::milliseconds{0});
    if (!piece && !options_.follow && piece.err().code == errc::not_found) {
      over_ = true;
      return {};
    }
    if (!piece) return piece.err();
    if (*piece) view_.show(**piece);
    auto now = clock::now();
    if (*piece || !ended_ || !out_.done()) quiet_since_ = now;
    over_ = !*piece && (!options_.follow || now - quiet_since_ >= settled);
    return {};
  }

  bool over() const { return over_; }
  /// Whether following gets over this failure of a step.
  bool goes_on(const error& e) const { return options_.follow && !given_up_ && may_pass(e.code); }
  /// Writes unfinished lines.
  void finish() { view_.finish(); }

private:
  using clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds poll_every{200}, look_every{1000};
  /// What is still on its way when everything ended is waited for so long.
  static constexpr std::chrono::milliseconds settled =
      broker::output_policy{}.recheck + std::chrono::milliseconds{200};
  static constexpr int most_absences = 5;

  bool whole() const { return target_.sandbox.empty(); }

  /// Asks now and then what has become of the swarm: new panes are watched from their first byte.
  /// Of one pane it is asked only when its log has ended. At the end every log is asked once more
  /// whether another attempt has begun; until that is known, a daemon is still needed.
  error look() {
    if (!options_.follow || (ended_ && out_.done()) || clock::now() < next_look_) return {};
    if (!whole() && !ended_ && !out_.done()) return {};
    auto status = daemon_.call(status_request{target_.swarm}, call_deadline);
    next_look_ = clock::now() + look_every;
    if (!status) {
      // The client has had the next one started: what fails again and again needs somebody.
      bool absent =
          status.err().code == errc::no_daemon || status.err().code == errc::daemon_running;
      given_up_ = absent && ++absences_ >= most_absences;
      return status.err();
    }
    absences_ = 0;
    for (const auto& p : status->panes)
      if (whole() && watched_.count(p.pane) == 0) watch(found_from(p), 0);
    bool ended = whole() ? status->swarm.state == swarm_phase::closed : all_closed(status->panes);
    if (ended && !ended_) out_.look_again();
    ended_ = ended;
    return {};
  }

  bool all_closed(const std::vector<pane_record>& panes) const {
    return std::all_of(panes.begin(), panes.end(), [this](const pane_record& p) {
      return watched_.count(p.pane) == 0 || p.state == pane_phase::closed;
    });
  }

  void watch(const found_pane& p, std::int64_t from, std::uint32_t generation = 0) {
    watched_.insert(p.pane);
    view_.add(p);
    out_.watch(p.pane, from, generation);
  }

  /// As output_stream::watch() takes it.
  struct start {
    std::int64_t offset = 0;
    std::uint32_t generation = 0;
  };

  result<start> first_byte(const pane_id& pane) {
    if (options_.from >= 0) return start{options_.from};
    // The daemon finds the place, at the beginning of a character.
    if (options_.tail_bytes > 0) return start{-static_cast<std::int64_t>(options_.tail_bytes)};
    // A long search is more requests than the daemon admits in a second.
    auto ask = [this](const log_read_request& r) { return daemon_.call_paced(r, call_deadline); };
    auto tail = tail_begin(ask, pane, options_.tail);
    // Of the attempt that was looked through: the next one may have begun meanwhile.
    if (tail) return start{static_cast<std::int64_t>(tail->offset), tail->generation};
    // A pane that has not started has no log yet.
    auto code = tail.err().code;
    if (code == errc::not_found || code == errc::no_such_pane) return start{};
    return tail.err();
  }

  const logs_options& options_;
  const logs_target& target_;
  broker::control_client& daemon_;
  broker::output_stream out_;
  log_view view_;
  std::set<pane_id> watched_;
  clock::time_point next_look_ = clock::now();
  clock::time_point quiet_since_ = clock::now(); ///< All ended and all was shown since then.
  int absences_ = 0;                             ///< Looks in a row that found no daemon.
  bool given_up_ = false;
  bool ended_ = false; ///< Nothing will be written any more.
  bool over_ = false;
};

int logs(const app& a, const logs_options& o) {
  signal_watch signals;
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = serve_daemon(*paths);
  if (!daemon) return fail_unless_left(a, signals, daemon.err());
  auto target = target_of(*daemon, o);
  if (!target) return fail_unless_left(a, signals, target.err());
  auto out = broker::output_stream::open(endpoints_of(*paths), {target->swarm, target->sandbox});
  if (!out) return fail(a, out.err());
  logs_session session{a.json_mode, o, *target, *daemon, std::move(*out)};
  for (const auto& p : target->panes) {
    if (auto s = signals.next(); s != 0) return exit_code_of_signal(s);
    if (auto e = session.begin(p)) return fail_unless_left(a, signals, e);
  }
  while (!session.over()) {
    if (auto s = signals.next(); s != 0) return exit_code_of_signal(s);
    auto e = session.step();
    if (e && !session.goes_on(e)) return fail_unless_left(a, signals, e);
    if (auto lost = flush_output()) return info(lost.code).exit_code;
    if (e) signals.wait(std::chrono::milliseconds{200});
  }
  session.finish();
  return 0;
}

} // namespace

void add_logs(CLI::App& cli, app& a) {
  auto o = std::make_shared<logs_options>();
  auto* c = add_command(cli, a, "logs", "Show the output of a pane, or of all panes of a swarm",
                        "  skep logs -f sw_x/p0\n  skep logs pn_y --tail 1000\n"
                        "  skep logs sw_x --from 0 --raw > all.log",
                        [&a, o] { return logs(a, *o); });
  c->add_option("TARGET", o->target, or_here("Pane (pn_... or SWARM/NAME) or swarm"));
  c->add_flag("-f,--follow", o->follow,
              "Go on until the agent ends; a swarm until it is closed, with the panes that come\n"
              "later");
  auto* lines = c->add_option("--tail", o->tail,
                              "Begin so many lines before the end, looked for in the last 64 MiB")
                    ->capture_default_str();
  c->add_option("--tail-bytes", o->tail_bytes,
                "Begin so many bytes before the end, at a whole character")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40U))
      ->excludes(lines);
  c->add_option("--from", o->from, "Begin at this byte of the newest attempt's log")
      ->check(CLI::NonNegativeNumber);
  c->add_flag("--raw", o->raw, "Bytes as they are, also to a terminal");
}

} // namespace skep::cli
