// Reading a file into an archive: exactly as many bytes as its header says. Used by both writers of
// archives (archive_writer.hpp, pack_stream.hpp).
#pragma once

#include "transfer/manifest.hpp"

#include <atomic>
#include <functional>
#include <span>

namespace skep::transfer {

/// Who takes the bytes of one file.
struct content_taker {
  /// Where the next of `left` bytes go; not empty unless `left` is 0.
  std::function<std::span<char>(std::uint64_t left)> room;
  /// So many came to the room last given; `last`: that was all. Once for an empty file.
  std::function<result<void>(std::size_t bytes, bool last)> take;
};

/// Reads `fd` to its end. A file that has another size than `entry` says, or cannot be read, is
/// errc::io and named; errc::cancelled; and whatever the taker returns.
result<void> read_content(int fd, const file_entry& entry, const std::atomic<bool>* cancel,
                          const content_taker& to);

} // namespace skep::transfer
