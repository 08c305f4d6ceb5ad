#include "tools/skep/agent_trial.hpp"

#include "broker/events_client.hpp"
#include "tools/skep/daemon_link.hpp"
#include "tools/skep/run_spec.hpp"
#include "tools/skep/term.hpp"
#include "transfer/process.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdlib.h>

namespace skep::cli {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

/// A git repository with one commit that goes away with its scope.
class scratch_repo {
public:
  result<std::string> make() {
    auto pattern = (fs::temp_directory_path() / "skep-doctor-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      return make_error(errc::io, "making " + pattern, std::strerror(errno));
    root_ = pattern;
    std::ofstream{root_ / "README"} << "A repository for a trial.\n";
    const std::vector<std::vector<std::string>> steps = {
        {"init", "-q"},
        {"add", "-A"},
        {"-c", "user.name=skep", "-c", "user.email=skep@localhost", "commit", "-q", "-m", "trial"}};
    for (const auto& step : steps) {
      transfer::program git;
      git.argv = {"git", "-C", root_.string()};
      git.argv.insert(git.argv.end(), step.begin(), step.end());
      git.environment = transfer::git_environment();
      if (auto done = transfer::run_for_output(git); !done) return done.err();
    }
    return root_.string();
  }
  scratch_repo() = default;
  scratch_repo(const scratch_repo&) = delete;
  scratch_repo& operator=(const scratch_repo&) = delete;
  ~scratch_repo() {
    std::error_code ignored;
    if (!root_.empty()) fs::remove_all(root_, ignored);
  }

private:
  fs::path root_;
};

/// Follows the swarm to its end.
result<swarm_closed> wait_closed(const storage::state_paths& paths, const run_reply& run,
                                 milliseconds limit) {
  auto stream = broker::event_stream::follow(endpoints_of(paths), run.seq, {run.swarm, {}});
  if (!stream) return stream.err();
  auto end = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < end) {
    auto e = stream->next(milliseconds{500});
    if (!e) return e.err();
    if (!*e) continue;
    auto x = interpret((*e)->event);
    if (x && std::holds_alternative<swarm_closed>(*x)) return std::get<swarm_closed>(*x);
  }
  return make_error(errc::timed_out,
                    "the trial did not end within " + duration_text(limit.count()));
}

} // namespace

result<std::string> try_agent(const storage::state_paths& paths, agent_kind kind,
                              milliseconds limit) {
  scratch_repo repo;
  auto root = repo.make();
  if (!root) return root.err();
  auto daemon = ensure_daemon(paths);
  if (!daemon) return daemon.err();
  swarm_spec spec;
  spec.name = "doctor";
  spec.repo = *root;
  spec.out_dir = *root + "/out";
  spec.argv = {std::string{to_string(kind)}, "--version"};
  spec.limit_ms = limit.count();
  lead_to_program(spec);
  auto run = daemon->client.call(run_request{spec}, command_deadline, random_token(20));
  if (!run) return run.err();
  auto closed = wait_closed(paths, *run, limit);
  if (!closed) {
    (void)daemon->client.call(stop_request{run->swarm, true}, command_deadline, random_token(20))
        .ok();
    return closed.err();
  }
  auto status = daemon->client.call(status_request{run->swarm}, call_deadline);
  if (!status) return status.err();
  if (status->panes.empty())
    return closed->why ? closed->why : make_error(errc::internal, "the trial had no pane");
  const auto& pane = status->panes.front();
  auto log = daemon->client.call(log_read_request{pane.pane, 0, 0, 4096}, call_deadline);
  auto text = log ? safe_line(log->data.data.substr(0, log->data.data.find('\n')), 200) : "";
  if (pane.state == pane_phase::closed && pane.exit_code == 0 && pane.signal == 0 && !text.empty())
    return text;
  if (closed->why) return closed->why;
  return make_error(errc::agent_failed,
                    spec.argv.front() + " --version ended with exit code "
                        + std::to_string(pane.exit_code),
                    text);
}

} // namespace skep::cli
