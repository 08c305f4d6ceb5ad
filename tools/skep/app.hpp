// What every command of `skep` shares: global options, where the state is, how results and errors
// are shown.
//
// Rules of output: stdout holds the answer and nothing else; with --json it is exactly one JSON
// document, or JSON lines for commands that follow something, also for every error. Remarks,
// progress and text errors go to stderr. docs/json/ holds a schema for each document.
#pragma once

#include "broker/client.hpp"
#include "messages/json.hpp"
#include "storage/state_dir.hpp"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace skep::cli {

struct app {
  std::string state_option; ///< --state, or empty.
  bool json_mode = false;
  std::vector<std::string> trailing; ///< Everything after the first "--".
  std::string command;               ///< That was chosen, a space behind each word: "secret set ".
  int exit_code = 0;
};

/// Exit codes that are not those of an error.
inline constexpr int exit_interrupted = 130; ///< Cancelled, or detached by Ctrl+C.
inline constexpr int exit_hangup = 129;      ///< Detached because the terminal went away.
inline constexpr int exit_killed = 137;      ///< The swarm was killed.

/// Paths of the state directory without making anything.
result<storage::state_paths> state_of(const app& a);
/// The same after making what is missing.
result<storage::state_paths> made_state(const app& a);
broker::endpoints endpoints_of(const storage::state_paths& paths);

/// {"error": {"code", "family", "exit_code", "text", "message", "sandbox", "step", "cause", "hint",
/// "retriable", "retry_after_ms"}}
json error_document(const error& e);
/// Shows an error where it belongs and gives the exit code of it. As text its hint names the
/// command that was typed.
int fail(const app& a, const error& e);
/// One JSON document or line on stdout, flushed.
void print_json(const json& j);
/// A line on stdout.
void print_line(const std::string& text);
/// Text on stdout as it is, flushed.
void print_text(std::string_view text);
/// Writes what waits for stdout. errc::io with the reason when that, or anything before, could not
/// be written: a loop that follows something ends then, and main says why on stderr.
error flush_output();
/// A remark on stderr.
void remark(const std::string& text);

/// Adds a command whose body gives the exit code.
CLI::App* add_command(CLI::App& parent, app& a, const std::string& name, const std::string& about,
                      const std::string& examples, std::function<int()> body);

/// "sw_...": the swarm meant by an id, the beginning of one that is unique, or a name. Of several
/// with the name the one that has not ended, else the newest; bad_argument with their ids when more
/// than one has not ended. `of_work_tree` means so the swarms of the git work tree that we are in.
result<swarm_id> find_swarm(broker::control_client& daemon, const std::string& text);
/// What a target is that the user left out. No argument can be that, an empty one least of all: a
/// script whose variable is empty means nothing.
inline const std::string of_work_tree{"\0work tree", 10};
/// What the help of a command says of a swarm.
inline const std::string a_swarm = "Id, unique beginning of an id, or name";
/// The same of a target that may be left out.
std::string or_here(const std::string& what);
struct found_pane {
  swarm_id swarm;
  sandbox_id sandbox;
  pane_id pane;
  agent_kind agent = agent_kind::command;
  pane_phase state = pane_phase::queued;
  std::string name;
};
found_pane found_from(const pane_record& p);
/// The pane meant by an id, the unique beginning of one, or SWARM/NAME such as "sw_x/p0". Where a
/// lost pane and its successor have the name: the one that has not ended, else the last.
result<found_pane> find_pane(broker::control_client& daemon, const std::string& text);
/// Why a pane takes no input at present; none when it does.
error input_refused(const found_pane& p);

/// Deadlines of calls to skepd.
inline constexpr std::chrono::milliseconds call_deadline{10'000};
inline constexpr std::chrono::milliseconds command_deadline{60'000};

} // namespace skep::cli
