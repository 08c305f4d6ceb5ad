// The REAPER: every 15 s it makes the provider agree with the journal.
//
//   kill intents without confirmation   killed again until the provider says it is gone; that it
//                                       does not is told ever more rarely (kill_told_first)
//   creates without an answer           whose SANDBOX has ended: searched for by their label
//                                       (sandbox_birth.hpp), soon after its end and then ever more
//                                       rarely; found: killed, with an intent first; settled: told
//   kept sandboxes past their lease     their provider is asked: one that it does not know any more
//                                       is confirmed gone, which ends its charge and frees its
//                                       place; one that somebody gave more time stays, and is asked
//                                       for again every minute (quiet_interval)
//   sandboxes with our skep.install     whose skep.sandbox is unknown or closed (and not kept):
//                                       killed after a grace time
//   everything else                     foreign: never touched
//
// With a sandbox that is confirmed gone goes what was uploaded for it, where that was kept for what
// is inside (work_files.hpp).
//
// A row may be wrong about the end of its sandbox, since a provider may say in passing that it
// knows none; and a restored backup lacks rows. So a provider is listed at every look while
// sandboxes live there, once a minute while rows name it that are younger than a lease, and all
// that are configured until they have answered once after the start. Where an orphan was seen,
// every look goes on.
//
// Who wakes it (directory::wake_reaper) has a kill carried out, a create searched for or a kept one
// past its lease asked for at once; lists are for its own time. Wakes that come together are one.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// What the REAPER needs from the tables; short reads, any thread.
struct reaper_tables {
  std::function<result<std::vector<sandbox_record>>()> unconfirmed_kills;
  /// Creates without answer or settlement, of open and of closed sandboxes.
  std::function<result<std::vector<sandbox_record>>()> unresolved_creates;
  /// Kept sandboxes whose lease is over at this time. Null: none.
  std::function<result<std::vector<sandbox_record>>(utc_time now)> kept_past_lease;
  /// not_found: nothing of ours has this id.
  std::function<result<sandbox_record>(const sandbox_id&)> sandbox;
  /// Providers that sandboxes of ours live at, as far as is known.
  std::function<std::vector<std::string>()> providers;
  /// Others at which one may live that counts as gone. Null: none.
  std::function<std::vector<std::string>()> recent;
  /// All that can be asked. Null: none.
  std::function<std::vector<std::string>()> configured;
};

caf::strong_actor_ptr spawn_reaper(caf::scheduled_actor* parent, services_ptr svc,
                                   reaper_tables tables);

/// The warning that a provider does not confirm a kill, with what it answered last.
notice kill_unconfirmed(const sandbox_id& id, const std::string& remote_id,
                        const std::string& provider, const error& why);

/// True for a listed sandbox that is ours and that nobody wants any more.
bool is_orphan(const sandbox::listed& x, const std::string& install,
               const result<sandbox_record>& known);

} // namespace skep::actors
