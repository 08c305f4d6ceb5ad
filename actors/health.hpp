// How well a part does, from its row in the state tables and its signs of life: pure functions, one
// table each. Nothing here asks anybody or fails; what is not known counts as healthy.
//
//   agent       dead      exited, closed
//               blocked   its sandbox does not answer, its model refuses or is retried
//               waiting   it asked something, or stopped in the middle of a line
//               working   output, an event, input or a start within `quiet`; a tool that runs
//               idle      else
#pragma once

#include "actors/policy.hpp"
#include "actors/watch_book.hpp"
#include "messages/commands.hpp"

namespace skep::actors {

/// When silence means something.
struct health_policy {
  std::chrono::seconds quiet{60};       ///< Without a sign for so long: idle.
  std::chrono::seconds asking{5};       ///< Silent behind an unfinished line: it waits for input.
  std::chrono::seconds silent{600};     ///< Without a sign for so long: degraded.
  std::chrono::seconds stuck{1800};     ///< In one phase before `running`: degraded.
  std::uint32_t probe_failures = 3;     ///< In a row: unhealthy.
  double near_limit = 0.9;              ///< Used part of memory or disk: degraded.
  std::int64_t journal_lag_ms = 5000;   ///< Beyond: degraded.
  std::uint64_t publisher_lag = 10'000; ///< Events beyond: degraded.
  std::uint32_t restarts = 3;           ///< Of actors within 10 min: degraded.
  std::uint64_t low_disk_bytes = 256ull * 1024 * 1024; ///< Free below: degraded.
};

/// The same, with what users set: as many failed probes as HEALTH POLLERS tell of one by one make a
/// sandbox unhealthy.
health_policy health_policy_of(const policies& p);

/// What the log file of a pane's newest attempt tells.
struct log_signs {
  utc_time written_at{};  ///< 0: no output yet.
  bool open_line = false; ///< It does not end with a newline.
};

/// Looks at the file; nothing is there: no output. Blocking, a stat and one byte.
log_signs look_at_log(const std::filesystem::path& file);

/// So many characters of a prompt are shown in a list, and where one run is looked at.
inline constexpr std::size_t head_in_list = 80, head_of_one = 200;

/// First `most` characters of a text on one line, never in the middle of a UTF-8 character.
std::string head_of(std::string_view text, std::size_t most);

/// `box_failing`: its sandbox does not answer.
pane_health judge(const pane_record& p, const pane_signs& signs, const log_signs& log,
                  bool box_failing, utc_time now, const health_policy& when = {});

/// `panes`: all of this sandbox, judged.
sandbox_health judge(const sandbox_record& s, const sandbox_signs& signs,
                     const std::vector<pane_health>& panes, utc_time now,
                     const health_policy& when = {});

/// `boxes`: all of this swarm; `sandboxes`: the same, judged. Its cost holds what runs now.
swarm_health judge(const swarm_record& w, const std::vector<sandbox_record>& boxes,
                   std::int64_t limit_ms, const std::vector<sandbox_health>& sandboxes,
                   utc_time now);

/// True for one that has ended here and whose provider has not confirmed that it is gone: it may
/// cost until its lease ends.
bool is_unconfirmed(const sandbox_record& s);
/// Of a swarm that is closed, for such sandboxes of it alone: degraded by each of them. How it
/// ended is no matter of health any more. `boxes`: all of this swarm.
swarm_health judge_unconfirmed(const swarm_record& w, const std::vector<sandbox_record>& boxes,
                               std::int64_t limit_ms, utc_time now);

/// What the daemon knows of itself.
struct daemon_parts {
  daemon_signs signs;
  std::vector<std::string> down; ///< Services without a handle.
  std::int64_t uptime_ms = 0;
  std::uint32_t open_swarms = 0;
  std::uint64_t waiting_bytes = 0;
  std::uint64_t publisher_lag = 0;
  std::uint64_t free_disk_bytes = UINT64_MAX;
};
daemon_health judge(const daemon_parts& d, const health_policy& when = {});

/// The worse of two.
constexpr health_state worse(health_state a, health_state b) {
  return a < b ? b : a;
}

} // namespace skep::actors
