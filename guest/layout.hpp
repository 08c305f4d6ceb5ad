// Files of panes inside a sandbox. R is ~/.skep/panes; D = R/PANE/GENERATION belongs to one
// attempt.
//
//   R/epoch      "EPOCH TOKEN\n": the newest daemon epoch seen, and the follower that holds it
//   D/claim      made once, by link(2); "EPOCH\n"; its flock is held while the holder lives
//   D/pid        "AGENT_PID HOLDER_PID\n"
//   D/terminal   "COLUMNS ROWS\n" at its start; only when the agent has a terminal
//   D/log        all output, in order of arrival; only the holder writes it. Of more than its cap
//                the front is a hole: see transfer/freed_front.hpp
//   D/inputs     "KEY LENGTH\n" of every input, synced before it is written to the agent
//   D/control.sock   see control.hpp
//   D/exit.reserve   room for exit.json on a disk that is full by then; read by nobody
//   D/pid.reserve    the same for pid, which is written once the agent has begun
//   D/exit.json  {"exit_code","signal","final_offset","ended_at_ms"}; the holder's last act
#pragma once

#include "messages/json.hpp"
#include "transfer/posix.hpp"

namespace skep::guest {

using transfer::unique_fd;

/// D/exit.json.
struct exit_record {
  std::int32_t exit_code = 0; ///< -1 when a signal ended the agent; 127 when it could not start.
  std::int32_t signal = 0;
  std::uint64_t final_offset = 0; ///< Size of the log, with the front that it may have lost.
  utc_time ended_at{};
  SKEP_FIELDS(field(1, "exit_code", x.exit_code), field(2, "signal", x.signal),
              field(3, "final_offset", x.final_offset), field(4, "ended_at_ms", x.ended_at))
};

enum class pane_state : std::uint8_t {
  absent,  ///< Nothing was started here.
  running, ///< Its holder lives.
  exited,  ///< exit.json is there.
  lost     ///< The holder died without leaving exit.json.
};

pane_state look(const std::string& dir);

/// The agent of `dir` has a terminal. Known before the agent starts.
bool has_terminal(const std::string& dir);

/// Takes `dir` for this process and its children: true once, with the lock in `lock`.
result<bool> claim(const std::string& dir, std::uint64_t epoch, unique_fd& lock);

/// Takes the room for the record while there is some: before the agent starts.
result<void> reserve_exit(const std::string& dir);
/// The same for the pids: an agent may fill the disk before they are written.
result<void> reserve_pid(const std::string& dir);
/// Durable. The agent and its holder.
result<void> write_pid(const std::string& dir, pid_t agent, pid_t holder);

result<exit_record> read_exit(const std::string& dir);
/// Durable. Needs no room where it was reserved: that file is written over and takes its place. A
/// record that is there is whole, whenever its writer died.
result<void> write_exit(const std::string& dir, const exit_record& record);

/// Writes exit.json in the place of a holder that died (exit code -1, SIGKILL). Does nothing unless
/// the state is `lost`.
void settle_lost(const std::string& dir);

/// Refuses a lower epoch (errc::stale_epoch) and records a higher one. With a token, it is recorded
/// too: whoever holds another token is no longer the follower.
result<void> enter_epoch(const std::string& root, std::uint64_t epoch,
                         const std::string& token = {});
/// False when the recorded epoch or token are no longer these.
bool holds_epoch(const std::string& root, std::uint64_t epoch, const std::string& token);

utc_time now();

} // namespace skep::guest
