// How often and how fast a supervisor restarts its children.
#pragma once

#include "messages/error.hpp"

#include <caf/timespan.hpp>

#include <chrono>
#include <cstdint>

namespace skep::actors {

/// Of every supervisor of a daemon; keys of [policy] in skep.toml (docs/configuration.md).
struct restart_policy {
  /// Restarts allowed within `period`; one more and the supervisor gives up.
  std::uint32_t max_restarts = 3;
  caf::timespan period = std::chrono::minutes{10};
  /// Delay before the first restart; doubled with each further one up to `backoff_max`. A child
  /// that ran longer than `period` starts from `backoff_min` again.
  caf::timespan backoff_min = std::chrono::seconds{1};
  caf::timespan backoff_max = std::chrono::seconds{60};
  /// Part of the delay that is drawn by chance, 0 .. 1: the delay lies in [(1 - jitter) * d, d].
  double jitter = 0.2;

  /// errc::out_of_range with the name of the value, or none.
  error validate() const;
  /// Delay before restart number `fails` (from 0) without jitter.
  caf::timespan backoff(std::uint32_t fails) const;
};

} // namespace skep::actors
