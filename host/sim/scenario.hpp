// What the simulator plays: a JSON file given with --faults. Every part may be left out; without a
// file nothing goes wrong. docs/simulator.md describes every field.
//
//   {"agent":{"lines":[10,40],"interval_ms":100,"files":2,"cost_usd":[0.01,0.05], ...},
//    "faults":{"latency_ms":{"create":{"p50":300,"p99":2000}},"lost_create_percent":5, ...},
//    "foreign":[{"metadata":{"owner":"somebody"},"timeout_s":3600}]}
#pragma once

#include "host/sim/draw.hpp"
#include "host/spec.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace skep::host::sim {

/// A number that varies: N, [LOW, HIGH] (evenly) or {"p50":N,"p99":N} (log-normal).
struct spread {
  double low = 0, high = 0;
  double sigma = 0; ///< Above 0: log-normal around `low`.
  double sample(draw& d) const;
  bool nothing() const { return low <= 0 && high <= 0; }
};

/// How a scripted agent behaves.
struct agent_script {
  spread lines{20, 20}, interval_ms{50, 50}, line_bytes{60, 60};
  spread files{1, 1}; ///< Files that it adds; of those it finds it changes as many.
  spread cost_usd{0.01, 0.01};
  int exit_code = 0;        ///< Of an attempt that does not fail.
  double fail_percent = 0;  ///< Attempts that end with exit code 1.
  double stall_percent = 0; ///< Attempts that fall silent half-way for stall_ms.
  spread stall_ms{60'000, 60'000};
  double question_percent = 0; ///< Attempts that ask and wait for one line of input.
  std::string question = "Shall I go on?";
};

/// What befalls which kind of request.
enum class scope : std::uint8_t { create, control, envd };
inline constexpr std::size_t scopes = 3;

template <class T>
struct by_scope {
  T values[scopes]{};
  const T& operator[](scope s) const { return values[static_cast<std::size_t>(s)]; }
};

/// A step that does not work: a request of this kind, or a program.
struct broken_step {
  std::string what; ///< "POST /files"; or "skep-guest unpack": a program's name and first word.
  std::uint64_t after = 0; ///< So many of the sandbox's (or of the account's) work before.
  bool hangs = false;      ///< It is never answered, or never ends; else it fails.
};

struct fault_plan {
  by_scope<spread> latency_ms;
  by_scope<double> rate_percent; ///< 429 with Retry-After. Not for envd.
  int retry_after_s = 1;
  double quota_percent = 0;             ///< 429 without it, on create.
  by_scope<double> error_percent;       ///< 500 or 503 with a body.
  by_scope<double> bad_gateway_percent; ///< 502 of a proxy: HTML, no JSON.
  by_scope<double> hang_percent;        ///< Accepted and never answered.
  by_scope<double> garbage_percent;     ///< 200 with a body that makes no sense.
  double lost_create_percent = 0;       ///< Created; the connection closes without an answer.
  double lost_kill_percent = 0;
  double late_create_percent = 0; ///< Created only after late_create_ms, whoever still waits.
  spread late_create_ms{5'000, 15'000};
  std::int64_t list_lag_ms = 0; ///< Lists show the world as it was.
  double cut_percent = 0;       ///< Streams that end after cut_after_bytes, mid-frame.
  spread cut_after_bytes{200, 20'000};
  double repeat_percent = 0;      ///< Envelopes of data that arrive twice.
  double early_death_percent = 0; ///< Sandboxes that die after early_death_ms.
  spread early_death_ms{1'000, 60'000};
  spread resume_ms; ///< How long a paused sandbox takes to come back.
  std::vector<std::uint64_t> restart_after_creates; ///< The host "restarts" after these creates:
  std::int64_t restart_down_ms = 500;               ///< streams break, 503 for so long.
  bool open_network = false;                        ///< `network` of a create has no effect.
  bool open_metadata = false;                       ///< A metadata service answers inside.
  std::vector<broken_step> requests;                ///< Kinds of request that never work.
  std::vector<broken_step> programs;                ///< Programs that never work.
};

/// A sandbox of somebody else, there from the start.
struct foreign_sandbox {
  std::string template_id = "base";
  string_map metadata;
  std::int64_t timeout_s = 3600;
};

struct scenario {
  agent_script agent;
  fault_plan faults;
  std::vector<foreign_sandbox> foreign;
};

/// errc::bad_config with the field that is wrong; unknown fields are wrong, too.
result<scenario> parse_scenario(std::string_view text);

} // namespace skep::host::sim
