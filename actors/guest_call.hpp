// Calls of skep-guest inside a sandbox: argv in, one line of JSON out (guest_answers.hpp).
#pragma once

#include "actors/domain.hpp"
#include "actors/guest_answers.hpp"

namespace skep::actors {

/// argv of a guest call; `args` follow the program.
sandbox::command guest_command(const sandbox_context& ctx, std::vector<std::string> args,
                               std::chrono::milliseconds limit);

} // namespace skep::actors
