#include "actors/agents/command.hpp"

#include <csignal>

namespace skep::actors {

namespace {

std::string_view signal_name(std::int32_t signal) {
  switch (signal) {
  case SIGHUP:
    return " (SIGHUP)";
  case SIGINT:
    return " (SIGINT)";
  case SIGQUIT:
    return " (SIGQUIT)";
  case SIGABRT:
    return " (SIGABRT)";
  case SIGKILL:
    return " (SIGKILL)";
  case SIGSEGV:
    return " (SIGSEGV)";
  case SIGPIPE:
    return " (SIGPIPE)";
  case SIGTERM:
    return " (SIGTERM)";
  default:
    return "";
  }
}

} // namespace

std::string describe_exit(std::int32_t exit_code, std::int32_t signal) {
  if (signal != 0)
    return "ended by signal " + std::to_string(signal) + std::string{signal_name(signal)};
  if (exit_code < 0) return "ended in an unknown way";
  return "exit code " + std::to_string(exit_code);
}

launch_plan command_adapter::plan(const swarm_spec& spec, const pane_context& pane) {
  launch_plan out;
  out.argv = spec.argv;
  out.env = spec.env;
  out.env["SKEP_PANE_INDEX"] = std::to_string(pane.index);
  out.env["SKEP_PANE_COUNT"] = std::to_string(pane.count);
  out.env["SKEP_PANE_NAME"] = pane.name;
  out.stdin_data = prompt_for(spec, pane.index);
  out.stdin_open = true;
  if (!spec.argv.empty()) out.program_to_check = spec.argv.front();
  return out;
}

verdict command_adapter::on_exit(std::int32_t exit_code, std::int32_t signal) {
  if (exit_code == 0 && signal == 0) return {outcome::completed, {}, false, {}};
  return {
      outcome::failed, make_error(errc::agent_failed, describe_exit(exit_code, signal)), true, {}};
}

} // namespace skep::actors
