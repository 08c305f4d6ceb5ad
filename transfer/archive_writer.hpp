// Writes a pax tar, compressed with zstd, to a file; one pass, hashing what it writes. For small
// archives and for the guest; a work tree is packed by pack_stream.hpp.
#pragma once

#include "transfer/manifest.hpp"

#include <atomic>
#include <memory>

namespace skep::transfer {

/// Add files in any order: begin(), data() until entry.size bytes are given, begin() again,
/// finish().
class archive_writer {
public:
  struct finished {
    std::uint64_t bytes = 0;
    std::string sha256;
  };
  /// Creates (or empties) `path` with mode 0600.
  static result<archive_writer> create(const std::string& path, int level = 1);
  archive_writer(archive_writer&&) noexcept;
  ~archive_writer();

  result<void> begin(const file_entry& entry, std::int64_t mtime_s,
                     const std::string& link_target = {});
  result<void> data(std::string_view bytes);
  /// Ends archive and file; nothing may follow.
  result<finished> finish();

private:
  struct state;
  explicit archive_writer(std::unique_ptr<state> s);
  std::unique_ptr<state> s_;
};

/// Reads `opened` to its end into `writer` and hashes it on the way; fills entry.sha256. A file
/// that changes its size meanwhile is errc::io.
result<void> append_file(archive_writer& writer, opened_entry& opened, std::string& buffer,
                         const std::atomic<bool>* cancel = nullptr);

} // namespace skep::transfer
