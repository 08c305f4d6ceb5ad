// The daemon's copy of a pane's log: one file a generation, appended at exactly its own length.
//
// Bytes are accepted only when their offset equals the position, so two streams at once are
// harmless and nothing is lost or doubled by a restart: the position is the file's length. Known
// secrets are replaced by '*' of the same length before they reach the disk, so offsets stay true.
// A log keeps its newest bytes, at most its cap and a sixteenth: see transfer/freed_front.hpp.
//
// A tail that may be the beginning of a secret is held back until it is decided; it is not on disk
// and so is sent again after a restart.
//
// All logs together keep at most a quarter of the process's open files: those beyond are opened for
// each use, so that tens of thousands of panes leave room for sockets and the database.
#pragma once

#include "messages/error.hpp"
#include "messages/masking.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace skep::actors {

/// First byte of a log that is kept; 0 when nothing was freed or the file cannot be read.
/// Thread-safe.
std::uint64_t log_begin(const std::filesystem::path& file);

/// Copies what is kept of a log; nothing where there is none. One whose front was freed begins with
/// a line that says so. disk_full or io when it cannot be written, io when it cannot be read.
result<void> copy_log(const std::filesystem::path& from, const std::filesystem::path& to);

class output_log {
public:
  /// Opens (or creates, 0600, with its folder) the file; the position is its length. disk_full, io.
  static result<output_log> open(const std::filesystem::path& file,
                                 const std::vector<std::string>& forms);
  output_log(output_log&& other) noexcept;
  output_log& operator=(output_log&&) = delete;
  ~output_log();

  /// Where the next bytes must start, held-back ones included.
  std::uint64_t expected() const { return position_ + mask_.held(); }
  /// Bytes on disk.
  std::uint64_t position() const { return position_; }
  /// Appends the part of `data` that starts at expected(); earlier bytes are dropped, a jump ahead
  /// is errc::bad_frame. Answers the masked bytes that went to disk; they start at position()
  /// before the call. disk_full, io: nothing of them is in the file, and it must be opened again.
  result<std::string> append(std::uint64_t offset, std::string_view data);
  /// What comes next begins at `begin`, beyond expected(): what lies between was lost where it was
  /// written, and more than a log keeps came behind it. All that was kept goes, and what may be the
  /// rest of a secret is masked. bad_frame for a place where no log can go on; disk_full, io: it
  /// must be opened again.
  result<void> skip_to(std::uint64_t begin);
  /// Writes what is held back: the log is over.
  result<std::string> finish();
  /// First byte on disk that is kept.
  std::uint64_t begin() const { return begin_; }
  /// Frees the front where more than `cap_bytes` are kept; true when it did. `at_once`: also for
  /// little. Frees whole MiB. io where the file system cannot: nothing is lost, and asking again is
  /// harmless.
  result<bool> trim(std::uint64_t cap_bytes, bool at_once = false);

private:
  /// While one lives the file is open.
  struct use;
  output_log(std::filesystem::path file, int fd, std::uint64_t position, masker mask);
  result<std::string> write(std::string text);
  result<void> wake();
  void rest();
  std::filesystem::path file_;
  int fd_ = -1;
  bool stays_open_ = false; ///< Counts among those that do.
  std::uint64_t position_ = 0;
  std::uint64_t begin_ = 0;
  masker mask_;
};

} // namespace skep::actors
