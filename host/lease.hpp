// The lease of one sandbox: a timer on the boot-time clock, so that neither a suspended machine nor
// a changed wall clock prolongs or shortens it by accident.
#pragma once

#include "host/posix.hpp"

#include <cstdint>

namespace skep::host {

class lease {
public:
  /// Starts now with `duration_ms`.
  static result<lease> start(std::int64_t duration_ms);

  /// Ends `duration_ms` from now (0 or less: at once), at most max_lifetime_ms after the start. In
  /// force when this returns.
  result<void> set(std::int64_t duration_ms);
  /// The same, but never to an earlier time.
  result<void> extend(std::int64_t duration_ms);
  /// Stands still: it does not end before restart() or go_on().
  result<void> suspend();
  /// Goes on after suspend() as if it had not stood still: at once at its end when that is over.
  result<void> go_on();
  /// Goes on after suspend(): ends `duration_ms` from now, and the greatest lifetime begins anew.
  result<void> restart(std::int64_t duration_ms);
  std::int64_t started_at_ms() const { return started_at_ms_; }
  std::int64_t end_at_ms() const { return end_at_ms_; }
  /// True when less than nothing is left of the greatest lifetime.
  bool exhausted() const;
  /// Becomes readable when the lease has ended.
  int descriptor() const { return timer_.get(); }
  /// True when it has ended; call when the descriptor is readable.
  bool ended();

private:
  /// Ends at this time of the boot-time clock.
  result<void> end_at(std::int64_t boot_ms);

  unique_fd timer_;
  std::int64_t started_at_ms_ = 0, end_at_ms_ = 0;   // wall clock, for showing
  std::int64_t boot_start_ms_ = 0, boot_end_ms_ = 0; // boot-time clock, for deciding
  std::int64_t boot_kept_ms_ = 0;                    // the end before suspend()
};

} // namespace skep::host
