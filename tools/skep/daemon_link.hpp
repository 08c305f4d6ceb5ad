// Reaching skepd: is one there, is it ours, start one when not.
#pragma once

#include "tools/skep/app.hpp"

#include <filesystem>

namespace skep::cli {

/// What every program of this release calls itself.
std::string own_version();
/// "skep VERSION (protocol N)".
std::string version_line();
/// A program that stands beside this one; empty when there is none.
std::filesystem::path beside_self(const std::string& name);

/// A client for the daemon that runs now; errc::no_daemon when none does. Starts nothing.
result<broker::control_client> reach_daemon(const storage::state_paths& paths);

struct start_policy {
  std::chrono::milliseconds ready{20'000}; ///< From the start of skepd until it answers.
  /// The same while a living process holds the lock of the state directory: skepd looks through its
  /// whole database before it answers, and the one before may still be ending.
  std::chrono::milliseconds opening{600'000};
  std::chrono::milliseconds told{3000}; ///< After so long the user is told what is waited for.
  /// For a skepd that was started while another became the daemon to end; then it is asked to, and
  /// has as long again.
  std::chrono::milliseconds losing{2000};
  std::chrono::milliseconds stopping{15'000}; ///< For an idle daemon of another release to end.

  /// How long a start is waited for.
  std::chrono::milliseconds limit(bool held) const { return held ? opening : ready; }
};
struct running_daemon {
  broker::control_client client;
  daemon_status_reply status;
  bool started_now = false;
};
/// The daemon of this state directory and this release, started when none runs. An idle one of
/// another release is stopped and replaced; a busy one is errc::wrong_version with what to do.
/// errc::no_daemon holds the end of its log when it did not come up. errc::cancelled when a signal
/// came to a signal_watch meanwhile, which has it still; what was started comes up all the same.
result<running_daemon> ensure_daemon(const storage::state_paths& paths, start_policy = {});

/// Whether whoever follows something goes on after this error: the daemon is away, is ending, is
/// just being started by somebody else, or is busy.
bool daemon_may_return(errc code);

/// From now on a request of `client` that finds no daemon, loses it before the answer or meets one
/// that ends is asked again of the next one, where that is harmless (control_client::on_absent).
/// The next one is started when none runs, and a remark says so; not after one that ended because
/// its journal could not be written: then the request fails with errc::no_daemon and its last
/// words.
void ask_next_daemon(broker::control_client& client, const storage::state_paths& paths);

/// For commands about runs: the running daemon, or a new one when this state directory has a
/// history (a daemon that was killed left runs to take up). Its requests are those of
/// ask_next_daemon(). errc::no_daemon when there is neither a daemon nor a history.
result<broker::control_client> serve_daemon(const storage::state_paths& paths);

/// Asks a daemon to end and waits until it has given up its lock, at most `limit`
/// (errc::timed_out). One that is ending already, because somebody else asked it, is waited for
/// just so, also when it does not listen any more, and a remark says so. With open swarms and
/// without `force` it is left alone, and the reply says how many. errc::no_daemon when none runs.
result<daemon_stop_reply> stop_daemon(const storage::state_paths& paths, bool force,
                                      std::chrono::milliseconds limit);

/// One remark on what still runs and how to end it; nothing when nothing runs.
void tell_what_runs(const app& a, const storage::state_paths& paths);

} // namespace skep::cli
