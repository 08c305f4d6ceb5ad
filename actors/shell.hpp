// What `skep shell` runs inside a sandbox.
#pragma once

#include "actors/attach.hpp"

namespace skep::actors {

/// A shell in the first of these folders that is there, else in the user's home, which it says. It
/// ends when a daemon of a later epoch follows its sandbox: nobody has its terminal any more.
attach_plan shell_plan(const shell_open_request& r, const std::vector<std::string>& folders,
                       std::uint64_t epoch);

} // namespace skep::actors
