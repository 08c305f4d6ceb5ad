#include "actors/health.hpp"

#include "messages/cost.hpp"

#include <algorithm>
#include <cmath>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::actors {
namespace {

constexpr const char* not_confirmed = "its provider has not confirmed that it is gone";

bool is_set(utc_time t) {
  return t.time_since_epoch().count() != 0;
}

std::string span(std::chrono::milliseconds ms) {
  auto s = ms.count() / 1000;
  return s < 120 ? std::to_string(s) + " s" : std::to_string(s / 60) + " min";
}

template <class Part>
void complain(Part& part, health_state state, std::string reason) {
  part.state = worse(part.state, state);
  part.reasons.push_back(std::move(reason));
}

std::int64_t age_ms(utc_time from, utc_time to) {
  return is_set(from) ? std::max<std::int64_t>(0, (to - from).count()) : 0;
}

bool went_well(outcome o) {
  return o == outcome::completed || o == outcome::cancelled;
}

std::string ending_text(const pane_record& p) {
  if (p.signal != 0) return "signal " + std::to_string(p.signal);
  if (p.attempt == 0) return "never started";
  return "exit code " + std::to_string(p.exit_code);
}

// Tools by which an agent asks a person.
bool asks_a_person(const std::string& tool) {
  return tool == "AskUserQuestion" || tool == "ExitPlanMode";
}

struct doing {
  activity what;
  std::string source;
  utc_time since;
};

doing running_agent(const pane_record& p, const pane_signs& signs, const log_signs& log,
                    utc_time now, const health_policy& when) {
  auto newest = std::max({log.written_at, signs.event_at, signs.input_at});
  auto input_is_newest = is_set(signs.input_at) && signs.input_at >= newest;
  if (signs.has_block && !input_is_newest) {
    if (signs.kind == block_kind::retry)
      return {activity::blocked, "its model is asked again: " + signs.name, signs.event_at};
    if (signs.kind == block_kind::text && signs.is_error)
      return {activity::blocked, "its model refused", signs.event_at};
    if (signs.kind == block_kind::tool_use && asks_a_person(signs.name))
      return {activity::waiting, "tool " + signs.name, signs.event_at};
    if (signs.kind == block_kind::tool_use)
      return {activity::working, "tool " + signs.name, signs.event_at};
  }
  if (!is_set(newest)) {
    auto fresh = now - p.started_at < when.quiet;
    return {fresh ? activity::working : activity::idle, fresh ? "started" : "no output yet",
            p.started_at};
  }
  auto silent = now - newest;
  if (log.open_line && silent >= when.asking && !input_is_newest && newest == log.written_at)
    return {activity::waiting, "an unfinished line", newest};
  auto source = input_is_newest            ? "input"
                : newest == signs.event_at ? std::string{to_string(signs.kind)}
                                           : std::string{"output"};
  return {silent < when.quiet ? activity::working : activity::idle, source, newest};
}

} // namespace

health_policy health_policy_of(const policies& p) {
  health_policy out;
  out.probe_failures = p.health_failures;
  return out;
}

log_signs look_at_log(const std::filesystem::path& file) {
  log_signs out;
  auto fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return out;
  struct stat st {};
  if (::fstat(fd, &st) == 0 && st.st_size > 0) {
    out.written_at = utc_time{std::chrono::milliseconds{
        static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1000 + st.st_mtim.tv_nsec / 1'000'000}};
    char last = '\n';
    out.open_line = ::pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n' && last != '\r';
  }
  ::close(fd);
  return out;
}

std::string head_of(std::string_view text, std::size_t most) {
  std::string out;
  std::size_t characters = 0;
  for (char c : text) {
    auto begins = (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (begins && characters++ == most) break;
    out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  }
  return out;
}

pane_health judge(const pane_record& p, const pane_signs& signs, const log_signs& log,
                  bool box_failing, utc_time now, const health_policy& when) {
  pane_health out;
  out.pane = p.pane;
  out.sandbox = p.sandbox;
  out.swarm = p.swarm;
  out.name = p.name;
  out.last_output_at = log.written_at;
  out.last_event_at = signs.event_at;
  auto say = [&](doing d) {
    out.doing = d.what;
    out.source = std::move(d.source);
    out.since = d.since;
  };
  switch (p.state) {
  case pane_phase::closed:
    out.uptime_ms = is_set(p.started_at) ? age_ms(p.started_at, p.closed_at) : 0;
    say({activity::dead, ending_text(p), p.closed_at});
    if (!went_well(p.result))
      complain(out, health_state::unhealthy,
               std::string{to_string(p.result)}
                   + (p.error_code.empty() ? std::string{} : ": " + p.error_code));
    return out;
  case pane_phase::exited:
    say({activity::dead, ending_text(p), log.written_at});
    return out;
  case pane_phase::queued:
  case pane_phase::starting:
    say({activity::idle, std::string{to_string(p.state)}, p.created_at});
    return out;
  case pane_phase::restarting:
    say({activity::idle, "waits for its next attempt", p.started_at});
    complain(out, health_state::degraded, "attempt " + std::to_string(p.attempt) + " failed");
    return out;
  case pane_phase::running:
    break;
  }
  out.uptime_ms = age_ms(p.started_at, now);
  say(running_agent(p, signs, log, now, when));
  if (box_failing) say({activity::blocked, "its sandbox does not answer", now});
  if (out.doing == activity::blocked) complain(out, health_state::degraded, out.source);
  auto newest = std::max({log.written_at, signs.event_at, signs.input_at, p.started_at});
  if (now - newest >= when.silent)
    complain(out, health_state::degraded, "no sign of life for " + span(now - newest));
  return out;
}

sandbox_health judge(const sandbox_record& s, const sandbox_signs& signs,
                     const std::vector<pane_health>& panes, utc_time now,
                     const health_policy& when) {
  sandbox_health out;
  out.sandbox = s.sandbox;
  out.swarm = s.swarm;
  out.usage = signs.usage;
  out.sampled_at = signs.sampled_at;
  out.uptime_ms = age_ms(s.created_at, s.state == phase::closed ? s.closed_at : now);
  if (is_unconfirmed(s)) complain(out, health_state::degraded, not_confirmed);
  if (s.unresolved && s.state == phase::closed)
    complain(out, health_state::degraded, "a create of it has no answer");
  if (s.state == phase::closed) {
    if (!went_well(s.result))
      complain(out, health_state::unhealthy,
               std::string{to_string(s.result)}
                   + (s.error_code.empty() ? std::string{} : ": " + s.error_code));
    return out;
  }
  if (signs.probe_failures > 0)
    complain(out,
             signs.probe_failures >= when.probe_failures ? health_state::unhealthy
                                                         : health_state::degraded,
             "did not answer, " + std::to_string(signs.probe_failures) + " in a row");
  if (signs.output_lost) complain(out, health_state::unhealthy, "its output is incomplete");
  if (signs.poll_failures > 0)
    complain(out, health_state::degraded,
             "its output stream failed, " + std::to_string(signs.poll_failures) + " in a row");
  for (const auto& p : panes)
    if (p.state != health_state::healthy)
      complain(out, health_state::degraded,
               p.name + ": " + (p.reasons.empty() ? p.source : p.reasons.front()));
  auto out_of_work = std::count_if(
      panes.begin(), panes.end(), [](const auto& p) { return p.state == health_state::unhealthy; });
  if (2 * static_cast<std::size_t>(out_of_work) > panes.size())
    complain(out, health_state::unhealthy, "more than half of its panes are out");
  auto near = [&](const char* what, std::uint64_t used, std::uint64_t total) {
    if (total > 0 && static_cast<double>(used) >= when.near_limit * static_cast<double>(total))
      complain(out, health_state::degraded,
               std::string{what} + " is "
                   + std::to_string(static_cast<int>(100.0 * static_cast<double>(used)
                                                     / static_cast<double>(total)))
                   + " % full");
  };
  near("memory", signs.usage.memory_bytes, signs.usage.memory_total_bytes);
  near("disk", signs.usage.disk_bytes, signs.usage.disk_total_bytes);
  if (s.state != phase::running && s.state != phase::queued && now - s.phase_since >= when.stuck)
    complain(out, health_state::degraded,
             std::string{to_string(s.state)} + " for " + span(now - s.phase_since));
  return out;
}

bool is_unconfirmed(const sandbox_record& s) {
  return s.kill_intended && !s.kill_confirmed && !s.remote_id.empty() && s.state == phase::closed;
}

namespace {

// What is no judgement.
swarm_health figures_of(const swarm_record& w, const std::vector<sandbox_record>& boxes,
                        std::int64_t limit_ms, utc_time now) {
  swarm_health out;
  out.swarm = w.swarm;
  out.worktree = w.repo;
  out.limit_ms = limit_ms;
  out.cost_usd = cost_usd(w, boxes, now);
  out.uptime_ms = age_ms(w.created_at, w.state == swarm_phase::closed ? w.closed_at : now);
  return out;
}

} // namespace

swarm_health judge_unconfirmed(const swarm_record& w, const std::vector<sandbox_record>& boxes,
                               std::int64_t limit_ms, utc_time now) {
  auto out = figures_of(w, boxes, limit_ms, now);
  for (const auto& s : boxes)
    if (is_unconfirmed(s))
      complain(out, health_state::degraded, s.sandbox.value + ": " + not_confirmed);
  return out;
}

swarm_health judge(const swarm_record& w, const std::vector<sandbox_record>& boxes,
                   std::int64_t limit_ms, const std::vector<sandbox_health>& sandboxes,
                   utc_time now) {
  auto out = figures_of(w, boxes, limit_ms, now);
  std::size_t bad = 0;
  for (const auto& s : sandboxes) {
    bad += s.state == health_state::unhealthy;
    if (s.state == health_state::healthy) continue;
    complain(out, health_state::degraded,
             s.sandbox.value + ": " + (s.reasons.empty() ? "degraded" : s.reasons.front()));
  }
  if (bad > 0 && bad == sandboxes.size())
    complain(out, health_state::unhealthy, "every sandbox is unhealthy");
  if (w.state == swarm_phase::closed && !went_well(w.result))
    complain(out, health_state::unhealthy,
             std::string{to_string(w.result)}
                 + (w.error_code.empty() ? std::string{} : ": " + w.error_code));
  return out;
}

daemon_health judge(const daemon_parts& d, const health_policy& when) {
  daemon_health out;
  out.uptime_ms = d.uptime_ms;
  out.open_swarms = d.open_swarms;
  out.restarts = d.signs.restarts;
  out.journal_lag_ms = d.signs.journal_lag_ms;
  out.journal_waiting_bytes = d.waiting_bytes;
  out.publisher_lag = d.publisher_lag;
  for (const auto& name : d.down)
    complain(out, health_state::unhealthy, name + " is down");
  for (const auto& path : d.signs.given_up)
    complain(out, health_state::degraded, path + " was given up");
  if (d.signs.restarts >= when.restarts)
    complain(out, health_state::degraded,
             std::to_string(d.signs.restarts) + " restarts of actors within 10 min");
  if (d.signs.journal_lag_ms >= when.journal_lag_ms)
    complain(out, health_state::degraded,
             "events take " + std::to_string(d.signs.journal_lag_ms) + " ms to the disk");
  if (d.publisher_lag >= when.publisher_lag)
    complain(out, health_state::degraded,
             "the event stream is " + std::to_string(d.publisher_lag) + " events behind");
  if (d.free_disk_bytes < when.low_disk_bytes)
    complain(out,
             d.free_disk_bytes < when.low_disk_bytes / 16 ? health_state::unhealthy
                                                          : health_state::degraded,
             "the disk of the state directory has " + std::to_string(d.free_disk_bytes / 1048576)
                 + " MiB left");
  return out;
}

} // namespace skep::actors
