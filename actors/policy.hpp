// Deadlines, limits and intervals of the domain actors, in one place (docs/configuration.md).
#pragma once

#include "messages/error.hpp"

#include <chrono>
#include <cstdint>

namespace skep::actors {

struct policies {
  /// Lease asked for at creation: a twin that nobody knows dies by itself after it.
  std::chrono::seconds create_lease{120};
  /// The lease outlives the hard limit by this, so that results can be collected. > 0.
  std::chrono::seconds lease_grace{300};
  /// A create without an answer is settled no sooner than this after its intent was journaled: the
  /// deadline of the request and 120 s, in which a provider that has taken it will show it.
  std::chrono::seconds settle_after{180};
  /// Full lists without its label that are needed besides.
  std::uint32_t settle_looks = 3;
  /// Wait between two looks: first, then doubled up to the most.
  std::chrono::seconds settle_interval{5};
  std::chrono::seconds settle_interval_most{30};
  /// Lists that may fail in a row once the time is over; then the SANDBOX ends and the REAPER goes
  /// on.
  std::uint32_t settle_failures = 6;
  /// Largest part of a sandbox's life before its agents run: create, provision, upload.
  std::chrono::seconds guest_command{30};
  /// Whole life of one TRANSFER, whatever its single calls may take; a missed one is a failed
  /// transfer.
  std::chrono::seconds upload_deadline{1200};
  std::chrono::seconds download_deadline{600};
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
  /// A sandbox of ours that nobody knows lives this long before the REAPER ends it.
  std::chrono::seconds orphan_grace{60};
  /// A follower is renewed after this; it is a new Start each time.
  std::chrono::seconds follower_life{1800};
  /// Reconnection of the output stream: first and largest wait, failures in a row until it gives
  /// up.
  std::chrono::milliseconds poll_wait_first{200};
  std::chrono::milliseconds poll_wait_most{5000};
  std::uint32_t poll_failures = 5;
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
  /// Largest archive or patch accepted from a sandbox.
  std::uint64_t download_cap_bytes = 2ull * 1024 * 1024 * 1024;
};

/// out_of_range with the name of the first field that makes no sense; none when all is sound.
error validate(const policies& p);

} // namespace skep::actors
