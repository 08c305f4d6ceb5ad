// Many files into one compressed tar, by a small pool, with bounded memory.
//
//   caller:   reads files in order into pieces of 1 MiB of the tar, and writes what comes out
//   workers:  compress a piece, hash and watch the contents in it
//
//   caller --pieces--> worker, worker, ... --frames, in the order of the pieces--> file
//
// Pieces are cut by the tar's bytes alone, so that the archive is the same whatever the number of
// workers. At most 2 * workers + 2 pieces are under way; the caller waits for the first of them.
// A content of several pieces is hashed by several workers, one after another.
#pragma once

#include "transfer/archive_form.hpp"
#include "transfer/content_watcher.hpp"
#include "transfer/manifest.hpp"

#include <atomic>

namespace skep::transfer {

/// The smaller of 4 and the number of cores.
unsigned usual_workers();

struct pack_stream_options {
  archive_form form;
  unsigned workers = 0;                      ///< 0: usual_workers().
  const std::atomic<bool>* cancel = nullptr; ///< True: errc::cancelled soon.
  content_watcher* watcher = nullptr;        ///< Called by the workers.
};

/// One thread at a time.
class pack_stream {
public:
  struct finished {
    std::uint64_t bytes = 0;
    std::string sha256;              ///< Hex, of the archive.
    std::vector<file_entry> entries; ///< As they were added, with their hashes.
  };
  /// Makes `path`, mode 0600; what was there is removed, not written over.
  static result<pack_stream> create(const std::string& path, const pack_stream_options& options);
  pack_stream(pack_stream&&) noexcept;
  /// Ends the workers, also in the middle.
  ~pack_stream();

  /// So many will be added: no memory is moved while they are.
  void expect(std::size_t files);
  /// Reads `file` to its end. A size that changes meanwhile, and a file that cannot be read, are
  /// errc::io and name it. After an error nothing may follow.
  result<void> add(opened_entry file);
  result<finished> finish();

private:
  struct state;
  explicit pack_stream(std::unique_ptr<state> s);
  std::unique_ptr<state> s_;
};

} // namespace skep::transfer
