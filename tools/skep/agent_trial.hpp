// skep doctor --agent: starts the agent's program once inside a real sandbox.
#pragma once

#include "messages/enums.hpp"
#include "storage/state_dir.hpp"

#include <chrono>

namespace skep::cli {

/// Runs `PROGRAM --version` of an agent in a sandbox on a scratch repository, through skepd
/// (started when none runs). Answers the first line that it printed. Nothing is left behind; no
/// model is asked. Errors: those of the run; agent_failed with the output when the program ended
/// with another code than 0.
result<std::string> try_agent(const storage::state_paths& paths, agent_kind kind,
                              std::chrono::milliseconds limit = std::chrono::minutes{2});

} // namespace skep::cli
