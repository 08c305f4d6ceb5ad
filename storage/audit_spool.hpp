// What was done to the state directory without the daemon, on its way into the journal and so into
// the audit log: `skep secret set`, `skep db rollback`.
//
//   STATE/audit-spool/STAMP-NANOSECONDS-RANDOM.json
//   {"operation","subject","uid","pid","done_at_ms"}
//
// Whoever does such a thing leaves a file here first; skepd takes the files up at its start and
// while it runs, and removes one once its event is on disk. A crash between the two gives two lines
// of one deed, never none.
#pragma once

#include "messages/events.hpp"

#include <filesystem>
#include <vector>

namespace skep::storage {

/// Leaves word of an operation of this process that is about to be done; answers the file. Errors:
/// io, disk_full.
result<std::filesystem::path> leave_word(const std::filesystem::path& state_root,
                                         std::string operation, std::string subject);
/// The operation failed: nothing was done. (A daemon that was quicker has written it down as it was
/// announced.)
void take_back(const std::filesystem::path& word);

struct spooled {
  std::filesystem::path file;
  done_outside what;
};
/// What waits, oldest first. A file that cannot be read is an operation called "UNREADABLE".
result<std::vector<spooled>> spooled_words(const std::filesystem::path& state_root);
/// The event is on disk.
void forget_word(const spooled& x);

} // namespace skep::storage
