// The hard limit of a run: kept in wall time, run on the boot-time clock.
//
//   stored    when the run began, by the wall clock (swarm.created)
//   running   a point on the boot-time clock, which counts while the machine sleeps and which
//             nobody can set
//
// So a wall clock that is set forward or back ends nothing early and prolongs nothing, and a
// restart of the daemon goes on with what was left.
#pragma once

#include "messages/ids.hpp"

#include <algorithm>
#include <chrono>

namespace skep::actors {

class time_limit {
public:
  using milliseconds = std::chrono::milliseconds;

  /// A run that began at `began` and may last `whole`. What is left is counted from here on; wall
  /// clocks that contradict each other leave at most the whole limit and at least nothing.
  time_limit(utc_time began, milliseconds whole, utc_time wall_now, milliseconds boot_now)
      : end_(boot_now + std::clamp(whole - (wall_now - began), milliseconds{0}, whole)) {}

  bool over(milliseconds boot_now) const { return boot_now >= end_; }
  milliseconds left(milliseconds boot_now) const {
    return std::max(end_ - boot_now, milliseconds{0});
  }

private:
  milliseconds end_; ///< On the boot-time clock.
};

} // namespace skep::actors
