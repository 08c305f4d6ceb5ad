// The `command` agent: any program, given after `--`. Its output has no meaning to us, its exit
// status is its verdict.
#pragma once

#include "actors/agents/adapter.hpp"

namespace skep::actors {

class command_adapter : public agent_adapter {
public:
  /// argv of the spec; SKEP_PANE_INDEX, SKEP_PANE_COUNT, SKEP_PANE_NAME; a prompt, where one is
  /// given, comes first on standard input, which stays open for `skep send`.
  launch_plan plan(const swarm_spec& spec, const pane_context& pane) override;
  std::vector<agent_event> on_output(std::string_view) override { return {}; }
  /// Completed when it exited with 0.
  verdict on_exit(std::int32_t exit_code, std::int32_t signal) override;
};

/// "exit code 3" or "ended by signal 9 (SIGKILL)".
std::string describe_exit(std::int32_t exit_code, std::int32_t signal);

} // namespace skep::actors
