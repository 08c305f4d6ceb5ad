// skep daemon start|stop|status, skep version.
#include "storage/last_failure.hpp"
#include "storage/reader.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/show.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace skep::cli {

namespace {

int show_status(const app& a, const daemon_status_reply& s, bool started_now) {
  if (a.json_mode) {
    print_json(to_json(s));
    return 0;
  }
  print_line("skepd " + s.version + (started_now ? " started" : " runs") + ", process "
             + std::to_string(s.pid) + ", since " + age_text(s.started_at) + ", "
             + count_text(s.open_swarms, "open swarm", "open swarms")
             + (s.draining ? ", takes no new runs (skep drain --undo)" : ""));
  print_line("  state " + s.state_dir + ", epoch " + std::to_string(s.epoch) + ", stream "
             + s.stream_id + " at " + std::to_string(s.head_seq));
  return 0;
}

/// What is still there of runs that are over.
struct left_behind {
  std::vector<sandbox_record> kept, unconfirmed;

  std::vector<std::string> lines() const {
    auto out = kept_lines(kept, wall_clock());
    for (auto& line : unconfirmed_lines(unconfirmed))
      out.push_back(std::move(line));
    return out;
  }
};

/// By the tables, which need no daemon; nothing where those cannot be read, which the daemon itself
/// tells.
left_behind left_on_record(const storage::state_paths& paths) {
  auto r = storage::reader::open(paths.database());
  if (!r) return {};
  auto living = r->living_sandboxes();
  if (!living) return {};
  return {kept_of(*living), unconfirmed_of(*living)};
}

int start(const app& a) {
  auto paths = made_state(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = ensure_daemon(*paths);
  if (!daemon) return fail(a, daemon.err());
  auto code = show_status(a, daemon->status, daemon->started_now);
  if (a.json_mode) return code;
  // What it stays for is no reason to end it.
  auto lines = unconfirmed_lines(left_on_record(*paths).unconfirmed);
  for (const auto& line : lines)
    print_line("  " + line);
  if (lines.empty())
    remark("It ends by itself after 15 idle minutes. End it now: skep daemon stop");
  return code;
}

int stop(const app& a, bool force) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto reply = stop_daemon(*paths, force, std::chrono::seconds{60});
  if (!reply) return fail(a, reply.err());
  if (reply->open_swarms > 0 && !force)
    return fail(a,
                make_error(errc::wrong_phase,
                           count_text(reply->open_swarms, "swarm is open", "swarms are open")
                               + ": `skep stop --all` first, or `skep daemon stop --force` (what "
                                 "runs goes on and is taken over by the next skepd)"));
  auto left = left_on_record(*paths);
  if (a.json_mode) {
    auto document = to_json(*reply);
    add_kept(document, left.kept);
    add_unconfirmed(document, left.unconfirmed);
    print_json(document);
  } else {
    print_line("skepd ended.");
    auto lines = left.lines();
    for (const auto& line : lines)
      remark("Still there: " + line);
  }
  if (reply->open_swarms > 0)
    remark(count_text(reply->open_swarms,
                      "swarm goes on at its provider; the next skepd takes it over",
                      "swarms go on at their provider; the next skepd takes them over")
           + ": skep daemon start");
  return 0;
}

int status(const app& a) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto daemon = reach_daemon(*paths);
  if (!daemon) {
    auto e = daemon.err();
    if (auto words = storage::read_last_failure(*paths); !words.empty())
      e.cause = "the last one had to end: " + safe_line(words);
    return fail(a, e);
  }
  auto reply = daemon->call(daemon_status_request{}, call_deadline);
  if (!reply) return fail(a, reply.err());
  if (!a.json_mode && reply->version != own_version())
    remark("This skep is " + own_version() + ".");
  auto code = show_status(a, *reply, false);
  if (a.json_mode) return code;
  auto lines = left_on_record(*paths).lines();
  for (const auto& line : lines)
    print_line("  " + line);
  return code;
}

int version(const app& a) {
  if (a.json_mode)
    print_json({{"version", own_version()}, {"protocol", protocol_version}});
  else
    print_line(version_line());
  return 0;
}

} // namespace

void add_daemon(CLI::App& cli, app& a) {
  auto* group = cli.add_subcommand("daemon", "Start, stop or look at skepd");
  group->require_subcommand(1);
  add_command(*group, a, "start", "Start skepd unless it runs", "  skep daemon start",
              [&a] { return start(a); });
  auto force = std::make_shared<bool>(false);
  auto* end =
      add_command(*group, a, "stop", "End skepd", "  skep daemon stop\n  skep daemon stop --force",
                  [&a, force] { return stop(a, *force); });
  end->add_flag("--force", *force, "Also while swarms run; the next skepd takes them over");
  add_command(*group, a, "status", "Show whether skepd runs", "  skep daemon status --json",
              [&a] { return status(a); });
  add_command(cli, a, "version", "Show the version", "  skep version --json",
              [&a] { return version(a); });
}

} // namespace skep::cli
