// Processes of a simulated sandbox as envd shows them: host/envd/process.hpp without a kernel.
#pragma once

#include "host/envd/process.hpp"
#include "host/sim/program.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep::host::sim {

class process : public std::enable_shared_from_this<process> {
public:
  process(asio::io_context& io, program_ptr what, json config, std::optional<std::string> tag,
          bool terminal, bool stdin_pipe);

  int pid() const { return what_->pid; }
  const std::optional<std::string>& tag() const { return tag_; }
  const json& config() const { return config_; }
  bool ended() const { return feed_.ended(); }
  bool terminal() const { return terminal_; }

  /// Starts the program. Call it once, after the first attach().
  void run();
  std::shared_ptr<envd::event_queue> attach();
  envd::event_feed& feed() { return feed_; }

  void kill_after(std::chrono::milliseconds limit);
  /// The deadline of kill_after() ended it.
  bool killed_late() const { return killed_late_; }
  void signal(int number) { what_->signal(number); }
  void wake() { what_->wake(); }
  /// Throw rpc_failure.
  void write_input(const std::string& data, bool to_terminal);
  void close_input();

  std::function<void()> on_end;

private:
  task<void> play();
  task<void> take(channel from, std::string text);

  asio::io_context& io_;
  program_ptr what_;
  json config_;
  std::optional<std::string> tag_;
  bool terminal_, stdin_pipe_;
  bool killed_late_ = false;
  asio::steady_timer deadline_;
  envd::event_feed feed_;
};

/// All processes; the ended ones for 30 s more.
class process_table {
public:
  explicit process_table(asio::io_context& io) : io_(io) {}
  std::shared_ptr<process> start(program_ptr what, json config, std::optional<std::string> tag,
                                 bool terminal, bool stdin_pipe);
  /// Throws rpc_failure{not_found}.
  std::shared_ptr<process> find(const json& selector, bool also_ended);
  std::shared_ptr<process> with_pid(int pid) const;
  std::vector<std::shared_ptr<process>> running() const;
  int new_pid() { return next_pid_++; }

private:
  asio::io_context& io_;
  std::shared_ptr<std::map<int, std::shared_ptr<process>>> all_ =
      std::make_shared<std::map<int, std::shared_ptr<process>>>();
  int next_pid_ = 100;
};

} // namespace skep::host::sim
