// A program that "runs" in a simulated sandbox: a coroutine of ours with arguments, environment,
// input, output and signals.
#pragma once

#include "host/envd/async.hpp"
#include "host/spec.hpp"

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace skep::host::sim {

class box;
using envd::notifier;
using envd::task;

enum class channel : std::uint8_t { out, err };

/// How it ended, as waitpid tells it.
struct exit_state {
  int code = 0; ///< -1 when a signal ended it.
  int signal = 0;
};

class program : public std::enable_shared_from_this<program> {
public:
  program(std::shared_ptr<box> where, asio::io_context& io) : home(std::move(where)), wake_(io) {}

  std::shared_ptr<box> home;
  int pid = 0;
  std::vector<std::string> argv;
  string_map env;
  std::string cwd;
  /// The agent of a pane: a program that the sandbox does not have is played, not refused.
  bool is_agent = false;
  std::uint32_t attempt = 1;
  /// Input that is there as a whole (a pipe, `<`), instead of what give_input() brings.
  std::optional<std::string> piped;
  /// Where output goes; returns when there is room for more.
  std::function<task<void>(channel, std::string)> sink;

  /// Waits. False: a signal came.
  task<bool> nap(std::chrono::milliseconds time);
  /// One line of input with its end; what was left at the end of input; empty after that.
  task<std::string> read_line();
  task<std::string> read_all();
  task<void> write(channel to, std::string text);

  /// Looks again whether the sandbox is paused.
  void wake() { wake_.notify(); }
  void give_input(std::string_view bytes);
  void close_input();
  bool input_open() const { return !input_closed_; }
  /// Ends it at its next wait: SIGINT and SIGTERM are taken like SIGKILL. SIGSTOP and SIGCONT stop
  /// it where it waits and let it go on.
  void signal(int number);
  int signalled() const { return signal_; }
  /// For a program that waits for something else than its input: called by signal().
  std::function<void()> on_signal;

private:
  task<void> while_paused();

  notifier wake_;
  std::string input_;
  bool input_closed_ = false;
  bool stopped_ = false;
  int signal_ = 0;
};
using program_ptr = std::shared_ptr<program>;

/// Runs the program that argv names to its end: a command, a shell line, skep-guest, or the
/// scripted agent. The exit code.
task<int> run_program(program_ptr p);

// The programs by themselves.
task<int> run_shell(program_ptr p);
task<int> run_guest(program_ptr p);
task<int> run_agent(program_ptr p);
/// nothing when there is no such command.
std::optional<task<int>> run_command(const program_ptr& p);

} // namespace skep::host::sim
