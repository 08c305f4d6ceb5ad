// Deadlines, limits and intervals of the domain actors, in one place (docs/configuration.md).
#pragma once

#include "actors/restart_policy.hpp"
#include "messages/error.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace skep::actors {

/// What becomes of a sandbox in which something answers that must not (network_check.hpp). A look
/// that cannot be carried out fails the sandbox under both.
enum class network_check : std::uint8_t {
  require, ///< It is destroyed.
  warn     ///< It is kept, and a notice says what answers.
};

/// How one provider is asked for sandboxes; skep.toml may set it for each.
struct create_policy {
  /// How long the request may take, as its client has it. 1 s to 10 min.
  std::chrono::seconds deadline{60};
  /// Lease asked for at creation, until the sandbox is known and ready: a twin that nobody knows
  /// dies by itself after it. 5 s to 1 h.
  std::chrono::seconds first_lease{120};
  /// The longest life that the provider's plan gives a sandbox; 0: not known, else 60 s to 30 d.
  /// Runs get a time limit that fits below it with the lease's grace.
  std::chrono::seconds lease_cap{0};
  /// Of this provider's sandboxes alone: of those of `local` and of a provider that is not named it
  /// is never set.
  network_check network = network_check::require;

  /// A create without an answer is settled no sooner than this after its intent was journaled: when
  /// the request is over, a provider that has taken it shows it within the first lease.
  std::chrono::seconds settle_after() const { return deadline + first_lease; }
};

/// How many blocks of an agent's structured output are journaled: a bucket of `burst` tokens that
/// fills by `per_second`. What is left out is counted and told; the log has all of it.
struct note_policy {
  std::uint32_t burst = 200;     ///< 1 to 100,000.
  std::uint32_t per_second = 10; ///< 1 to 10,000.
};

struct policies {
  restart_policy supervision;                     ///< Of every supervisor's children.
  create_policy create;                           ///< Of providers that `create_at` does not name.
  std::map<std::string, create_policy> create_at; ///< By provider.
  /// The lease outlives the hard limit by this, so that results can be collected. > 0.
  std::chrono::seconds lease_grace{300};
  /// What an end at the time limit or after a failure may take, from the first interrupt to the
  /// kill: four fifths of the lease's grace, so that the kill comes before the lease is over.
  std::chrono::milliseconds end_within() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(lease_grace) * 4 / 5;
  }
  /// From the start of an agent's holder inside until its word that the agent runs; 1 s to 1 h.
  std::chrono::seconds ready_limit{30};
  /// From the moment when a pane's next attempt could start until a holder inside must have said
  /// that the one before is over; else the pane fails. 1 s to 1 h.
  std::chrono::seconds attempt_end_limit{60};
  /// Between the warning of an idle pane and its stop; 0 to 1 h.
  std::chrono::seconds idle_grace{60};
  /// More than so many percent of a sandbox's panes out fail it. 1 to 100 (never).
  std::uint32_t panes_out_percent = 50;
  note_policy pane_notes; ///< Of each pane.
  /// What is kept of one log of a pane, newest bytes; 1 MiB to 1 TiB.
  std::uint64_t log_cap_bytes = 100ull * 1024 * 1024;
  /// The same inside the sandbox, where a log waits to be fetched: no less than is kept here.
  std::uint64_t log_cap_inside() const { return std::max(log_cap_bytes, least_log_inside); }
  static constexpr std::uint64_t least_log_inside = 64ull * 1024 * 1024;
  /// The end of the daemon with on_stop = "kill": in all, from SIGINT to SIGKILL of an agent, and
  /// from then until a pane is given up.
  std::chrono::seconds shutdown_limit{30};
  std::chrono::seconds shutdown_interrupt{5};
  std::chrono::seconds shutdown_grace{2};

  /// How long the daemon's own parts (actors, jobs of the work pool) have to end, together; then
  /// its process ends all the same. 1 s to 1 h.
  std::chrono::seconds own_end_limit{60};
  /// Full lists without its label that settling a create needs, besides
  /// create_policy::settle_after.
  std::uint32_t settle_looks = 3;
  /// Wait between two looks: first, then doubled up to the most.
  std::chrono::seconds settle_interval{5};
  std::chrono::seconds settle_interval_most{30};
  /// Lists that may fail in a row once the time is over; then the SANDBOX ends and the REAPER goes
  /// on.
  std::uint32_t settle_failures = 6;
  /// A sandbox counts as lost after so many looks in a row at which its provider denied to have it
  /// (404): some say that of what lives, too, while a store of theirs fails. Of the local host one
  /// is enough. 1 to 20.
  std::uint32_t loss_looks = 5;
  /// Sandboxes at a time that a daemon which is back looks for and renews the leases of, so that
  /// their requests are answered rather than queued; 1 to 100,000.
  std::uint32_t take_ups = 100;
  /// One whose provider does not answer holds its place no longer than this; 1 s to 60 s.
  std::chrono::seconds take_up_hold{2};
  /// Until the next look at a provider, after so many and one more in vain.
  std::chrono::milliseconds look_wait(std::uint32_t looks) const {
    return std::min<std::chrono::milliseconds>(settle_interval_most,
                                               settle_interval * (1u << std::min(looks, 10u)));
  }
  /// From the first of loss_looks looks with these waits to the last.
  std::chrono::milliseconds loss_time() const;
  /// Largest part of a sandbox's life before its agents run: create, provision, upload.
  std::chrono::seconds guest_command{30};
  /// The look from inside a new sandbox at what its network lets through: all addresses at once.
  std::chrono::milliseconds network_look{2000};
  /// Whole life of one TRANSFER, whatever its single calls may take; a missed one is a failed
  /// transfer.
  std::chrono::seconds upload_deadline{1200};
  /// An archive travels in parts of this size (row S1-56); 64 KiB to 1 GiB.
  std::uint64_t upload_part_bytes = 52'428'800;
  /// Failures in passing, one after another without a part that arrived in between, before an
  /// upload has failed; and the wait after the first of them, which doubles. 1 to 20.
  std::uint32_t upload_tries = 5;
  std::chrono::seconds upload_wait{1};
  /// Between two words of the bytes of a part that is under way. An upload in one part that is over
  /// sooner tells none. 1 to 60 s.
  std::chrono::seconds upload_progress{1};
  std::chrono::seconds download_deadline{600};
  /// Failures in passing of one step of a download, one after another, before it has failed; the
  /// wait is that of uploads. More of them: a failed download leaves an agent's work inside. 1 to
  /// 20.
  std::uint32_t download_tries = 8;
  /// The setup of a sandbox, which a transfer runs; and what is kept of its output.
  std::chrono::seconds setup{600};
  std::uint64_t setup_log_bytes = 10ull * 1024 * 1024;
  /// Removing the temporary files of a transfer inside; failing to is a warning (row S1-11).
  std::chrono::seconds clean_up{5};
  std::chrono::seconds unpack{300};
  std::chrono::seconds collect{300};
  /// Between the interrupt of an agent and its kill.
  std::chrono::seconds stop_grace{10};
  /// Provider kills are repeated at this interval until confirmed.
  std::chrono::seconds kill_retry{2};
  std::uint32_t kill_attempts = 5; ///< Then the REAPER goes on.
  std::chrono::seconds reap_interval{15};
  /// Between the first failure of the REAPER to have a kill confirmed and its word of it; each next
  /// wait is ten times as long, up to the most. 1 s to 1 d.
  std::chrono::seconds kill_told_first{60};
  std::chrono::seconds kill_told_most{6000};
  /// Between two looks of the REAPER at providers where nothing of ours is known to live, and at a
  /// kept sandbox that is there past its lease; 1 s to 1 h.
  std::chrono::seconds quiet_interval{60};
  /// A sandbox of ours that nobody knows lives this long before the REAPER ends it.
  std::chrono::seconds orphan_grace{30};
  /// A follower is renewed after this; it is a new Start each time.
  std::chrono::seconds follower_life{1800};
  /// Nothing at all from a follower for so long, not even the pulse that it gives every 30 s: it
  /// hangs, and another one is begun. Noticed at most a quarter later; 60 s to 1 h.
  std::chrono::seconds follow_silence{120};
  /// Life of the followers that look for the rest of logs whose end was not seen, after the
  /// downloads; 1 s to 60 s.
  std::chrono::seconds last_look{5};
  /// All of them together: the log of an agent that wrote without end is not waited for. 1 s to
  /// 600 s.
  std::chrono::seconds last_look_limit{20};
  /// Reconnection of the output stream: first and largest wait, failures in a row until it gives
  /// up.
  std::chrono::milliseconds poll_wait_first{200};
  std::chrono::milliseconds poll_wait_most{5000};
  std::uint32_t poll_failures = 5;
  /// The last failure that may pass (network, no answer) counts only when nothing has come for so
  /// long since the first one; 0 to 1 h.
  std::chrono::seconds poll_give_up{120};
  std::uint32_t poll_after_failures = 2; ///< In a row; then output is polled by short followers.
  std::chrono::seconds poll_life{1};     ///< How long each of those follows.
  /// Between two of them: first, then doubled up to the most while nothing comes.
  std::chrono::milliseconds poll_interval_first{500};
  std::chrono::milliseconds poll_interval_most{5000};
  std::chrono::seconds poll_for{300}; ///< Then a stream is tried again.
  /// Bytes of a stream that wait for the poller before the network is no longer read.
  std::size_t poll_buffer_bytes = 1024 * 1024;
  /// The sandbox's one tick.
  std::chrono::seconds tick{5};
  /// Between two questions to envd whether it is alive, and how long one may take.
  std::chrono::seconds health_interval{30};
  std::chrono::seconds health_deadline{10};
  /// Failed ones in a row until the provider is asked whether the sandbox is still there.
  std::uint32_t health_failures = 3;
  /// Restart of a failed agent: first and largest wait.
  std::chrono::seconds pane_wait_first{1};
  std::chrono::seconds pane_wait_most{60};
  /// Attempts of one remote step that failed for a reason that may pass (network, capacity).
  std::uint32_t step_attempts = 4;
  std::chrono::milliseconds step_wait{500};
  /// An attachment that nobody reads for this long ends; longer than the longest wait of one read.
  std::chrono::seconds attach_idle{30};
  /// Longest life of an attachment; its viewer inside ends with it, also without us.
  std::chrono::seconds attach_life{8 * 3600};
  /// Output that waits for the client, and then is no longer read; input that waits for the viewer.
  std::size_t attach_buffer_bytes = 256 * 1024;
  std::size_t attach_input_bytes = 64 * 1024;
  /// Attachments at a time.
  std::uint32_t attach_most = 64;
  /// Largest archive or patch accepted from a sandbox.
  std::uint64_t download_cap_bytes = 2ull * 1024 * 1024 * 1024;

  /// How long a swarm whose budget ends is given to stop and to collect its results. Where time
  /// costs, its cost is kept free, and what is left before the cap is killed; else after it.
  std::chrono::seconds budget_wind_down{60};
  std::chrono::seconds budget_kill{5};
  /// What lies between the two at least: an agent's `stop_grace`, and some seconds to collect what
  /// it did.
  std::chrono::seconds budget_collect{15};
  /// How long a dead sandbox's place is waited for before a run that does not queue is refused.
  std::chrono::seconds reclaim{10};
  /// After a provider refused a create for its quota and named no time, one create asks again after
  /// the first of these; the wait doubles up to the most while it refuses.
  std::chrono::seconds quota_wait{30};
  std::chrono::seconds quota_wait_most{600};
  /// On a nearly full disk a sandbox that is still to be made asks for its create again after this,
  /// results that had no room are stored again, and output that had none is fetched again; 1 s to
  /// 1 h.
  std::chrono::seconds disk_wait{30};
  /// With less than this free on the disk of STATE no output is written there; it stays inside.
  /// Four times the journal's reserve, so that what the journal writes meanwhile never needs that,
  /// and far below the mark at which new work is refused. At most 1 TiB.
  std::uint64_t log_room_bytes = 64ull * 1024 * 1024;
  /// How old an answer of that disk may be; what was written since is taken off. At most 60 s.
  std::chrono::milliseconds disk_look{1000};

  const create_policy& create_of(const std::string& provider) const {
    auto i = create_at.find(provider);
    return i == create_at.end() ? create : i->second;
  }
};

/// The shortest budget_wind_down: what stops then is collected before it is killed.
inline std::chrono::seconds least_wind_down(const policies& p) {
  return p.budget_kill + p.budget_collect;
}

/// out_of_range with the name of the first field that makes no sense; none when all is sound.
error validate(const create_policy& p);
/// As above.
error validate(const note_policy& p);

/// out_of_range with the name of the first field that makes no sense; none when all is sound.
error validate(const policies& p);

} // namespace skep::actors
