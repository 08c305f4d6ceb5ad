// The daemon's copy of a pane's log: one file a generation, appended at exactly its own length.
//
// Bytes are accepted only when their offset equals the position, so two streams at once are
// harmless and nothing is lost or doubled by a restart: the position is the file's length. Known
// secrets are replaced by '*' of the same length before they reach the disk, so offsets stay true.
// A tail that may be the beginning of a secret is held back until it is decided; it is not on disk
// and so is sent again after a restart.
#pragma once

#include "messages/error.hpp"
#include "messages/masking.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace skep::actors {

class output_log {
public:
  /// Opens (or creates, 0600, with its folder) the file; the position is its length.
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
  /// before the call.
  result<std::string> append(std::uint64_t offset, std::string_view data);
  /// Writes what is held back: the log is over.
  result<std::string> finish();

private:
  output_log(int fd, std::uint64_t position, masker mask);
  result<std::string> write(std::string text);
  int fd_ = -1;
  std::uint64_t position_ = 0;
  masker mask_;
};

} // namespace skep::actors
