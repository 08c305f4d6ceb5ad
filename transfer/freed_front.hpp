// A file that keeps its newest bytes, as logs do: its front is given back to the disk as a hole.
// The file's length and all offsets stay; whoever reads looks where the hole ends.
//
//   [ hole: freed, whole MiB ][ kept ]
//   0                         begin     length
//
// Writer and readers may be different processes. A reader that wants to be sure of what it has read
// asks for the begin behind the read: only what lies from there on was in the file all the while.
#pragma once

#include "transfer/posix.hpp"

#include <cstdint>

namespace skep::transfer {

/// Fronts are freed in multiples of this: more than any file system's block.
inline constexpr std::uint64_t freed_together = 1024 * 1024;

/// First byte of an open file that is kept; 0 when nothing was freed or the file cannot be read.
/// Its position is moved. Thread-safe.
std::uint64_t kept_from(int fd);

/// Where a file of `length` that has lost its front up to `begin` loses it up to, so that at most
/// `cap_bytes` and part of a MiB are kept; `begin` while no more than `slack_bytes` are beyond.
std::uint64_t front_to_free(std::uint64_t begin, std::uint64_t length, std::uint64_t cap_bytes,
                            std::uint64_t slack_bytes);

/// Gives the bytes from `begin` to `end` back to the disk. io where the file system cannot: nothing
/// is lost, and asking again is harmless.
result<void> free_front(int fd, std::uint64_t begin, std::uint64_t end);

/// A new file at `path` in the place of the one there, open for appending, whose first `begin`
/// bytes count as freed (whole MiB): what comes next is the first that is kept. Who has the former
/// one open goes on reading that. disk_full, io, also where the file system knows no holes: then
/// the former one is still there.
result<unique_fd> begin_at(const std::string& path, std::uint64_t begin);

} // namespace skep::transfer
