// Every operation on a sandbox or its provider, with its deadline: the one table (rows S1-01,
// S2-07).
//
// A deadline counts from the call to the last byte of the answer, waiting in the engine's queue and
// repeated attempts included; that of a stream counts to its start event. Nothing is sent without
// one: http_request cannot be made without a deadline, calls take theirs from here, and
// tools/lib/checks/deadlines.py compares this table with every function that sends.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

// SKEP_OPERATION(name, default deadline in ms, attempts, guard, why this number)
// name: the function of `api` (api.hpp), `control`, `templates` or `envd` beside it.
// attempts: how often it is sent at most when the network fails or the provider says how long to
// wait. An error after more than one of them says how many there were.
// guard: what makes a repeat harmless. `reads`: it changes nothing. `same`: done twice is done
// once. `once`: nothing does, so attempts is 1.
#define SKEP_OPERATIONS                                                                            \
  SKEP_OPERATION(create, 60'000, 1, once, "placement may wait; a repeat could make a twin")        \
  SKEP_OPERATION(list, 30'000, 3, reads, "each page is a request, all pages share the deadline")   \
  SKEP_OPERATION(get, 10'000, 3, reads, "one row")                                                 \
  SKEP_OPERATION(kill, 30'000, 1, once, "S1-03; the reaper repeats it, from its intent")           \
  SKEP_OPERATION(set_timeout, 10'000, 3, same, "S1-04; sets an end, whoever asks")                 \
  SKEP_OPERATION(set_network, 10'000, 3, same, "replaces all rules")                               \
  SKEP_OPERATION(pause, 60'000, 1, once, "writes the memory to disk; a repeat would be told 409")  \
  SKEP_OPERATION(connect, 60'000, 3, same, "a resume may wait for a place; only ever extends")     \
  SKEP_OPERATION(usage, 10'000, 3, reads, "one sample")                                            \
  SKEP_OPERATION(get_model_usage, 5'000, 1, once, "asked again on the next tick")                  \
  SKEP_OPERATION(set_allowance, 5'000, 3, same, "sets a total, whoever asks")                      \
  SKEP_OPERATION(run, 300'000, 1, once, "S2-07; command::limit takes its place when it is set")    \
  SKEP_OPERATION(start_background, 30'000, 1, once, "until the start event")                       \
  SKEP_OPERATION(open_stream, 30'000, 1, once,                                                     \
                 "until the start event; then command::limit and idle")                            \
  SKEP_OPERATION(send_input, 10'000, 1, once, "a pipe write; a repeat would write twice")          \
  SKEP_OPERATION(close_stdin, 10'000, 1, once, "")                                                 \
  SKEP_OPERATION(send_signal, 10'000, 1, once, "")                                                 \
  SKEP_OPERATION(resize_pty, 10'000, 3, same, "")                                                  \
  SKEP_OPERATION(list_processes, 10'000, 3, reads, "")                                             \
  SKEP_OPERATION(upload_file, 300'000, 1, once, "S1-01 file write; step::part_write for parts")    \
  SKEP_OPERATION(write_file, 60'000, 1, once, "small contents from memory")                        \
  SKEP_OPERATION(read_file, 30'000, 3, reads, "S1-01 log read")                                    \
  SKEP_OPERATION(download_file, 120'000, 1, once, "S1-01 fetch archive")                           \
  SKEP_OPERATION(stat, 10'000, 3, reads, "S1-01 existence and size")                               \
  SKEP_OPERATION(list_dir, 30'000, 3, reads, "")                                                   \
  SKEP_OPERATION(make_dir, 10'000, 1, once, "")                                                    \
  SKEP_OPERATION(move, 10'000, 1, once, "")                                                        \
  SKEP_OPERATION(remove, 60'000, 1, once, "recursive")                                             \
  SKEP_OPERATION(health, 5'000, 1, once, "S2-20 one probe; the poller repeats it")                 \
  /* control.hpp */                                                                                \
  SKEP_OPERATION(create_all, 60'000, 1, once, "as create")                                         \
  SKEP_OPERATION(resume_paused, 60'000, 1, once, "a repeat would be told 409")                     \
  SKEP_OPERATION(list_page, 30'000, 3, reads, "")                                                  \
  SKEP_OPERATION(list_running, 30'000, 3, reads, "")                                               \
  SKEP_OPERATION(refresh, 10'000, 3, same, "only ever extends")                                    \
  SKEP_OPERATION(metrics, 10'000, 3, reads, "")                                                    \
  SKEP_OPERATION(metrics_of, 10'000, 3, reads, "at most 100 sandboxes")                            \
  SKEP_OPERATION(logs, 30'000, 3, reads, "")                                                       \
  SKEP_OPERATION(logs_v1, 30'000, 3, reads, "")                                                    \
  SKEP_OPERATION(create_snapshot, 120'000, 1, once, "writes memory and disk")                      \
  SKEP_OPERATION(list_snapshots, 30'000, 3, reads, "")                                             \
  SKEP_OPERATION(delete_snapshot, 30'000, 1, once, "")                                             \
  SKEP_OPERATION(fork, 120'000, 1, once,                                                           \
                 "a snapshot and up to 100 sandboxes; a repeat would make twins")                  \
  /* templates.hpp */                                                                              \
  SKEP_OPERATION(create_template, 30'000, 1, once, "a repeat would make another build")            \
  SKEP_OPERATION(file_link, 10'000, 3, reads, "")                                                  \
  SKEP_OPERATION(upload_layer, 300'000, 1, once, "S1-01 file write")                               \
  SKEP_OPERATION(start_build, 30'000, 1, once, "a build is started once")                          \
  SKEP_OPERATION(build_status, 10'000, 3, reads, "")                                               \
  SKEP_OPERATION(build_logs, 30'000, 3, reads, "")                                                 \
  SKEP_OPERATION(find_alias, 10'000, 3, reads, "")                                                 \
  SKEP_OPERATION(list_templates, 30'000, 3, reads, "")                                             \
  SKEP_OPERATION(get_template, 10'000, 3, reads, "")                                               \
  SKEP_OPERATION(delete_template, 30'000, 1, once, "")                                             \
  SKEP_OPERATION(set_public, 10'000, 3, same, "")                                                  \
  SKEP_OPERATION(assign_tags, 10'000, 3, same, "")                                                 \
  SKEP_OPERATION(remove_tags, 10'000, 1, once, "")                                                 \
  SKEP_OPERATION(list_tags, 10'000, 3, reads, "")                                                  \
  /* envd.hpp */                                                                                   \
  SKEP_OPERATION(connect_process, 30'000, 1, once,                                                 \
                 "until the start event; then the limit given and idle")                           \
  SKEP_OPERATION(stream_input, 60'000, 1, once, "blocks while the process does not read")          \
  SKEP_OPERATION(watch_dir, 30'000, 1, once,                                                       \
                 "until the start event; then the limit given and idle")                           \
  SKEP_OPERATION(create_watcher, 10'000, 1, once, "a repeat would leave one behind")               \
  SKEP_OPERATION(watcher_events, 10'000, 1, once, "the call drains them")                          \
  SKEP_OPERATION(remove_watcher, 10'000, 1, once, "")                                              \
  SKEP_OPERATION(write_files, 300'000, 1, once, "S1-01 file write")                                \
  SKEP_OPERATION(compose, 300'000, 1, once, "S1-01 join parts; deletes its sources")               \
  SKEP_OPERATION(environment, 10'000, 3, reads, "")

// SKEP_STEP(name, operation, deadline in ms, why): uses of an operation whose limit differs from
// the operation's own and cannot be set. Their caller gives it as call_options::deadline; a row
// without one is refused by tools/check. Limits of whole steps, which can be set:
// actors/policy.hpp.
#define SKEP_STEPS                                                                                 \
  SKEP_STEP(part_write, upload_file, 120'000, "S1-01 part write, of a part of at most 50 MiB")

namespace skep::sandbox {

enum class operation : std::uint8_t {
#define SKEP_OPERATION(name, deadline_ms, attempts, guard, why) name,
  SKEP_OPERATIONS
#undef SKEP_OPERATION
};

#define SKEP_OPERATION(name, deadline_ms, attempts, guard, why) +1
inline constexpr std::size_t operation_count = 0 SKEP_OPERATIONS;
#undef SKEP_OPERATION

/// The function's name, which is also the `step` of an error.
std::string_view to_string(operation op);

/// What makes a repeated attempt harmless.
enum class guard : std::uint8_t { reads, same, once };

enum class step : std::uint8_t {
#define SKEP_STEP(name, op, deadline_ms, why) name,
  SKEP_STEPS
#undef SKEP_STEP
};

/// The limit of one use of an operation.
struct step_limit {
  operation op;
  std::chrono::milliseconds deadline;
};
step_limit limit_of(step use);

/// How long one operation may take and how often it is tried.
struct operation_limits {
  std::chrono::milliseconds deadline; ///< Whole call; > 0.
  int attempts;                       ///< >= 1; 1 where nothing guards a repeat.
  guard repeat;
};

/// All limits of the sandbox client. The defaults are the documented ones.
struct policy {
  /// By operation; policy{} holds the table above.
  std::array<operation_limits, operation_count> limits = default_limits();

  /// TCP and TLS, for every new connection.
  std::chrono::milliseconds connect{10'000};
  /// We ask envd for a keepalive event after this much silence on a stream.
  std::chrono::seconds keepalive_interval{50};
  /// A stream that is silent for longer is dead; above keepalive_interval. Paused time is not
  /// counted.
  std::chrono::milliseconds stream_idle{120'000};
  /// A command with a limit is killed by envd at the limit; we wait this much longer for its word.
  std::chrono::milliseconds command_grace{5'000};
  /// Before the second attempt; doubled for each further one (1 s, then 2 s), +-25 % at random. A
  /// provider that says how long to wait (Retry-After) is obeyed instead, where the deadline allows
  /// it.
  std::chrono::milliseconds retry_backoff{1'000};
  /// stdout and stderr of run() each keep this much; the rest is dropped and said.
  std::size_t output_cap_bytes = 1U << 20U;
  /// A JSON answer longer than this is refused as errc::protocol.
  std::size_t answer_cap_bytes = 16U << 20U;
  /// Most bytes one read_file() returns.
  std::size_t read_cap_bytes = 8U << 20U;

  const operation_limits& of(operation op) const { return limits[static_cast<std::size_t>(op)]; }
  operation_limits& of(operation op) { return limits[static_cast<std::size_t>(op)]; }

  static std::array<operation_limits, operation_count> default_limits();
};

} // namespace skep::sandbox
