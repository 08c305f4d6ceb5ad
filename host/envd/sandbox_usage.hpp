// What the processes of this sandbox use, as its own /proc shows them. The machine's totals of
// /proc/stat and /proc/meminfo are those of everybody, and say nothing of one sandbox.
#pragma once

#include <cstdint>

namespace skep::envd {

struct sandbox_usage {
  std::uint64_t cpu_ticks = 0;    ///< Of all processes, with what their children used; may shrink.
  std::uint64_t memory_bytes = 0; ///< Private and shared memory of processes, and files in memory.
  std::uint64_t cache_bytes = 0;  ///< Mapped files.
  std::uint64_t disk_used_bytes = 0;
  std::uint64_t disk_total_bytes = 0;
};

/// Reads it now. `home` is on the disk that counts.
sandbox_usage read_usage(const char* home);

} // namespace skep::envd
