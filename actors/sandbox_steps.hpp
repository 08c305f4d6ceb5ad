// The steps of a sandbox's life that talk to its inside, as plain continuation-passing functions:
// each calls `then` exactly once, on any thread, and keeps no state of its own.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// An error of one of these steps after which the same step may succeed a moment later: a lost
/// packet, a connection that was cut, an answer that was late. Not what was judged inside (an
/// isolation that is missing stays missing), and not the end of the sandbox or of the call.
bool step_may_pass(const error& why);

/// Asks envd's health, and in one command who and where we are inside: isolation_check.hpp says
/// what is refused. `mark` is the intent of the create that made the sandbox.
void verify_inside(context_ptr ctx, std::string mark, sandbox::done<void> then);

/// Has skep-guest, which must be there, try whether a metadata service or something that the run's
/// network policy does not allow answers from inside: network_check.hpp says what is refused, and
/// what `then` is told where the provider's policy keeps such a sandbox. Empty: the network holds.
void verify_network(context_ptr ctx, sandbox::done<std::string> then);

/// Sends SIGKILL to short commands of skep-guest that a former daemon or a dead TRANSFER started
/// and that still run (an unpack, a diff), and to a setup: their steps are about to be repeated.
/// Panes and their holders are not touched. False when there was none; after true look again. An
/// error, at step "adopt": they could not be looked for.
void kill_leftovers(context_ptr ctx, sandbox::done<bool> then);

/// Uploads skep-guest under its hash, makes it executable, checks that it runs. May be done again
/// after a failure: it ends at once where the program is there.
void provision_guest(context_ptr ctx, sandbox::done<void> then);

} // namespace skep::actors
