// What a restored backup must not take back: how far daemons and events had been counted.
//
//   STATE/epoch    0600, one line: epoch, head, inode of the database
//
// The database alone would count on from where the backup was made. Its next daemon would then have
// an epoch below the one that living sandboxes know, which they refuse; and it would give numbers
// of events a second time, which who follows them drops as known. No backup holds this file.
#pragma once

#include "messages/error.hpp"

#include <cstdint>
#include <filesystem>

namespace skep::storage {

struct epoch_mark {
  std::uint64_t epoch = 0; ///< Highest that was taken; 0: none is known.
  std::uint64_t head = 0;  ///< Last event at the start or the orderly end of that daemon.
  std::uint64_t inode = 0; ///< Of the database file then; 0: not known.
};

/// Left out by leave_room(): more than daemons ever start between a backup and its restoring.
inline constexpr std::uint64_t epochs_of_room = 1'000'000;

std::filesystem::path epoch_file(const std::filesystem::path& database);
/// What the file beside `database` says; an empty mark when there is none. io when it cannot be
/// read or is damaged.
result<epoch_mark> read_epoch_mark(const std::filesystem::path& database);
/// Durable when it returns. Errors: io, disk_full.
result<void> write_epoch_mark(const std::filesystem::path& database, const epoch_mark& mark);
/// The mark of a database as it is; its file need not exist.
epoch_mark mark_of(const std::filesystem::path& database, std::uint64_t epoch, std::uint64_t head);
/// `now` is not what `before` was written for, or older: events would be numbered a second time.
bool is_restored(const epoch_mark& before, const epoch_mark& now);

/// The whole directory may be a restored backup, this file with it: the next epoch is far above all
/// that are known here. Nothing where no daemon ever ran. The caller holds the lock. Errors: io,
/// disk_full.
result<void> leave_room(const std::filesystem::path& database);

} // namespace skep::storage
