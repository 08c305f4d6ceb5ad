// Processes started through envd and those who listen to them.
//
// A process outlives its listeners. Its output is read only while every listener has room, so a
// slow one blocks the process through the pipe; with no listener output is read and dropped. The
// end event comes when the process has exited and all holders of its pipes have closed them, or,
// after a signal from us, when it has exited, or, at its deadline, when it had exited by then.
#pragma once

#include "host/envd/async.hpp"
#include "host/envd/event_stream.hpp"
#include "host/envd/pause_clock.hpp"
#include "host/envd/spawn.hpp"
#include "messages/json.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep::envd {

class process : public std::enable_shared_from_this<process> {
public:
  /// Takes over the descriptors of `s`. `config` is the ProcessConfig as List shows it.
  process(asio::io_context& io, pause_clock& time, const spawned& s, json config,
          std::optional<std::string> tag);

  pid_t pid() const { return pid_; }
  const std::optional<std::string>& tag() const { return tag_; }
  const json& config() const { return config_; }
  /// How it ended, in Go's words; empty before it has.
  const std::string& ended_how() const { return ended_how_; }
  /// True after the end event.
  bool ended() const { return feed_.ended(); }

  /// Starts to read the output. Call it once, after the first attach().
  void run();
  /// A new listener; it gets the start event at once, and the end event when there is one already.
  std::shared_ptr<event_queue> attach();
  event_feed& feed() { return feed_; }

  /// Kills it, as signal(SIGKILL) does, when `limit` has passed. When it has exited by then and
  /// others of its group still hold its pipes, those are killed and nobody waits any longer.
  void kill_after(std::chrono::milliseconds limit);
  /// True when kill_after() was what ended it.
  bool killed_late() const { return killed_late_; }
  /// True once it has exited, whoever still holds its pipes.
  bool has_exited() const { return status_.has_value(); }
  /// SIGKILL goes to its process group as well, every other signal to it alone. False: it has
  /// exited already.
  bool signal(int number);
  /// Ends it now, if it has exited, whoever still holds its pipes.
  void stop_waiting() {
    if (status_) cut();
  }
  /// Writes all of `data` to stdin (or the terminal). Throws rpc_failure.
  task<void> write_input(std::string data, bool to_terminal);
  /// Throws rpc_failure on a terminal; twice is fine.
  void close_input();
  /// False: it has no terminal.
  bool resize(terminal_size size);

  /// The process was reaped with this wait status.
  void exited(int status);
  /// Called once, after the end event.
  std::function<void()> on_end;

private:
  using descriptor = asio::posix::stream_descriptor;
  task<void> pump(descriptor& from, const char* name, std::size_t piece_bytes);
  void await_deadline();
  void end_leftovers();
  void close_read(descriptor& from);
  void cut();
  void try_end();

  asio::io_context& io_;
  pause_clock& time_;
  pid_t pid_;
  json config_;
  std::optional<std::string> tag_;
  descriptor input_;
  descriptor output_;
  descriptor errors_;
  descriptor terminal_;
  bool on_terminal_;
  asio::steady_timer deadline_;
  clock::time_point kill_at_{}; ///< Of `time_`.
  bool killed_late_ = false;
  event_feed feed_;
  notifier input_free_;
  bool input_busy_ = false;
  int pumps_ = 0;
  bool cut_ = false; ///< Read what is there, do not wait for more.
  bool signalled_ = false;
  std::optional<int> status_;
  std::string ended_how_;
};

/// All processes; the ended ones for 30 s more, so that a late Connect learns the outcome.
class process_table {
public:
  process_table(asio::io_context& io, pause_clock& time) : io_(io), time_(time) {}
  /// Throws rpc_failure when the system refuses to start it.
  std::shared_ptr<process> start(const spawn_request& request, json config,
                                 std::optional<std::string> tag);
  /// By the selector of a request ({"pid":N} or {"tag":"t"}). Throws rpc_failure{not_found}; an
  /// ended one counts only with `also_ended`.
  std::shared_ptr<process> find(const json& selector, bool also_ended);
  /// Those that have not ended, by pid.
  std::vector<std::shared_ptr<process>> running() const;
  /// Called with a line for the log when a process starts and when it ends.
  std::function<void(const json&)> on_news;
  /// Collects every child that has exited, ours or orphaned to us. Call it on SIGCHLD.
  void reap();

private:
  asio::io_context& io_;
  pause_clock& time_;
  std::map<pid_t, std::shared_ptr<process>> all_;
};

} // namespace skep::envd
