// Every operation on a sandbox or its provider, with its deadline: the one table (rows S1-01,
// S2-07).
//
// A deadline counts from the call to the last byte of the answer, waiting in the engine's queue and
// repeated attempts included. Nothing is sent without one: http_request cannot be made without a
// deadline, and api calls take theirs from here.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

// SKEP_OPERATION(name, default deadline in ms, attempts, why this number)
// name: the function of `api` (api.hpp); a test compares both lists.
// attempts: how often it is sent when the network fails; above 1 only for calls that change
// nothing.
#define SKEP_OPERATIONS                                                                            \
  SKEP_OPERATION(create, 60'000, 1, "placement may wait; a repeat could make a twin")              \
  SKEP_OPERATION(list, 30'000, 2, "each page is a request, all pages share the deadline")          \
  SKEP_OPERATION(get, 10'000, 2, "one row")                                                        \
  SKEP_OPERATION(kill, 30'000, 1, "S1-03; the reaper repeats it")                                  \
  SKEP_OPERATION(set_timeout, 10'000, 1, "S1-04")                                                  \
  SKEP_OPERATION(set_network, 10'000, 1, "as set_timeout")                                         \
  SKEP_OPERATION(run, 300'000, 1, "S2-07; command::limit takes its place when it is set")          \
  SKEP_OPERATION(start_background, 30'000, 1, "until the start event")                             \
  SKEP_OPERATION(open_stream, 30'000, 1, "until the start event; then command::limit and idle")    \
  SKEP_OPERATION(send_input, 10'000, 1, "a pipe write; a repeat would write twice")                \
  SKEP_OPERATION(close_stdin, 10'000, 1, "")                                                       \
  SKEP_OPERATION(send_signal, 10'000, 1, "")                                                       \
  SKEP_OPERATION(resize_pty, 10'000, 1, "")                                                        \
  SKEP_OPERATION(list_processes, 10'000, 2, "")                                                    \
  SKEP_OPERATION(upload_file, 300'000, 1, "S1-01 file write; call_options shortens it for parts")  \
  SKEP_OPERATION(write_file, 60'000, 1, "small contents from memory")                              \
  SKEP_OPERATION(read_file, 30'000, 2, "S1-01 log read")                                           \
  SKEP_OPERATION(download_file, 120'000, 1, "S1-01 fetch archive")                                 \
  SKEP_OPERATION(stat, 10'000, 2, "S1-01 existence and size")                                      \
  SKEP_OPERATION(list_dir, 30'000, 2, "")                                                          \
  SKEP_OPERATION(make_dir, 10'000, 1, "")                                                          \
  SKEP_OPERATION(move, 10'000, 1, "")                                                              \
  SKEP_OPERATION(remove, 60'000, 1, "recursive")                                                   \
  SKEP_OPERATION(health, 5'000, 1, "S2-20 one probe")

namespace skep::sandbox {

enum class operation : std::uint8_t {
#define SKEP_OPERATION(name, deadline_ms, attempts, why) name,
  SKEP_OPERATIONS
#undef SKEP_OPERATION
};

#define SKEP_OPERATION(name, deadline_ms, attempts, why) +1
inline constexpr std::size_t operation_count = 0 SKEP_OPERATIONS;
#undef SKEP_OPERATION

/// The name as in `api`, which is also the `step` of an error.
std::string_view to_string(operation op);

/// How long one operation may take and how often it is tried.
struct operation_limits {
  std::chrono::milliseconds deadline; ///< Whole call; > 0.
  int attempts;                       ///< >= 1.
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
  /// Before the second attempt; doubled for each further one, +-25 % at random.
  std::chrono::milliseconds retry_backoff{250};
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
