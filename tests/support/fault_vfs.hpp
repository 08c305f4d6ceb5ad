// A disk that loses power, as SQLite sees it: a VFS over the usual one that knows what was synced.
//
//   write, truncate   go to the real file and wait in a list of what the disk may still lose
//   sync              what waited is durable
//   power cut         each waiting write is kept, dropped or torn, as the seed draws; from then on
//                     every operation fails. survivors() writes what is on the disk to a folder
//   failed sync       what waited is kept or lost already, as on Linux; a later sync changes
//   nothing
//
// One disk at a time; while it lives every connection of this process goes through it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

namespace skep::storage::testing {

enum class fault : std::uint8_t {
  power_cut,   ///< At the N-th operation that changes something.
  write_fails, ///< The N-th write fails once: SQLITE_IOERR_WRITE.
  sync_fails,  ///< The N-th sync fails once: SQLITE_IOERR_FSYNC.
  disk_full    ///< From the N-th write on: SQLITE_FULL.
};

class faulty_disk {
public:
  /// `after` 0: nothing goes wrong by itself.
  faulty_disk(fault what, std::uint64_t after, std::uint64_t seed);
  ~faulty_disk();
  faulty_disk(const faulty_disk&) = delete;
  faulty_disk& operator=(const faulty_disk&) = delete;

  /// The power goes now.
  void cut();
  /// The fault has happened.
  bool happened() const;
  /// Writes of files whose name ends so that a power cut could still undo.
  std::size_t unsynced(const std::string& ending) const;
  /// Operations that changed something so far.
  std::uint64_t operations() const;
  /// What is on the disk after the cut, by file name, written to `folder`.
  void survivors(const std::filesystem::path& folder) const;

  struct state;

private:
  std::unique_ptr<state> state_;
};

} // namespace skep::storage::testing
