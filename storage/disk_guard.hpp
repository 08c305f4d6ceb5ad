// Keeps the journal writable on a disk that fills up.
//
//   free space >= low_water_bytes     plenty   everything is accepted
//   below                             low      notes and new work are refused, facts go on
//   below reserve_bytes               critical the reserve file was given back for the last facts
//
// The reserve file is allocated while there is plenty, removed when critical, made again later.
#pragma once

#include "messages/error.hpp"

#include <filesystem>

namespace skep::storage {

/// Bytes that may still be written to the file system of `directory`; UINT64_MAX where it does not
/// say: not knowing is no reason to refuse work. Any thread.
std::uint64_t free_bytes(const std::filesystem::path& directory);

enum class disk_level : std::uint8_t { plenty, low, critical };

struct disk_limits {
  std::uint64_t low_water_bytes = 256ull << 20;
  std::uint64_t reserve_bytes = 16ull << 20; ///< Size of the reserve file; 0: none.
};

class disk_guard {
public:
  /// Watches the filesystem of `directory`; the reserve is the file "reserve" in it.
  disk_guard(std::filesystem::path directory, disk_limits limits);
  /// Asks the filesystem now, makes or removes the reserve, gives the level.
  disk_level refresh();
  disk_level level() const { return level_; }
  /// Removes the reserve at once (a write failed for lack of space).
  void release_reserve();

private:
  std::filesystem::path directory_;
  std::filesystem::path reserve_;
  disk_limits limits_;
  disk_level level_ = disk_level::plenty;
};

} // namespace skep::storage
