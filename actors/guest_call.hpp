// Calls of skep-guest inside a sandbox: argv in, one line of JSON out.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// What skep-guest answered, or why there is no answer: its own {"error": ..., "message": ...}
/// becomes remote_command_failed (stale_epoch for exit code 3), an unreadable answer
/// errc::protocol. Everything in it is a claim of the sandbox.
result<json> read_guest_answer(const result<sandbox::command_result>& r);

/// argv of a guest call; `args` follow the program.
sandbox::command guest_command(const sandbox_context& ctx, std::vector<std::string> args,
                               std::chrono::milliseconds limit);

} // namespace skep::actors
