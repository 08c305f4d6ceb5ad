// Is what runs our commands the sandbox that was made, and not this machine? One command inside
// tells who and where it is; the judgement is made on this side. Pure but for this_place().
#pragma once

#include "sandbox/api.hpp"

#include <string>
#include <string_view>

namespace skep::actors {

/// The variable that a create puts into the environment of every process of its sandbox; its value
/// is that create's random intent.
inline constexpr std::string_view mark_variable = "SKEP_SANDBOX_MARK";

/// Where a process is: which run of which kernel, and its namespaces of files and of processes, as
/// /proc names them.
struct place {
  std::string boot, files, processes;
};

/// Of this process; a member is empty where /proc does not tell.
place this_place();

/// Asks for user, mark and place; ends within `limit`.
sandbox::command isolation_question(std::chrono::milliseconds limit);

/// What the answer to isolation_question proves. errc::no_isolation when the user is root, when the
/// mark is not `mark` (the command ran somewhere else than in what this create made), when the
/// place shares files or processes with `here`, or when the answer leaves one of these open.
result<void> judge_isolation(std::string_view answer, std::string_view mark, const place& here);

} // namespace skep::actors
