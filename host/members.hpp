// The processes of one sandbox as they are seen from outside: the members of its pid namespace.
#pragma once

#include "messages/error.hpp"

#include <cstdint>
#include <sys/types.h>
#include <vector>

namespace skep::host {

struct member {
  pid_t pid = -1;   ///< Of this namespace, not of the sandbox's.
  char state = '?'; ///< As in /proc/PID/stat: R, S, D, T, t, Z, X, ...
  /// Stopped, or dead: it runs no instruction.
  bool still() const { return state == 'T' || state == 't' || state == 'Z' || state == 'X'; }
};

/// The namespace that bubblewrap (its outer process) made for the sandbox. errc::gone.
result<std::uint64_t> inner_pid_namespace(pid_t bubblewrap);

/// All processes of that namespace, lowest pid first.
std::vector<member> members_of(std::uint64_t pid_namespace);

/// Sends a signal to a member of that namespace, and to nobody else: a process that took the pid of
/// one that ended meanwhile is left alone. False when it was not sent.
bool signal_member(pid_t pid, std::uint64_t pid_namespace, int signal);

} // namespace skep::host
