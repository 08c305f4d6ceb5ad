// The system's wall clock, finer than utc_time: for what is compared with times of files.
#pragma once

#include <chrono>
#include <cstdint>

namespace skep {

/// Nanoseconds since the Unix epoch. May go back, as the clock is set. Any thread.
inline std::int64_t wall_ns() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

} // namespace skep
