// The log of a pane as its holder writes it: all output, of which the newest bytes stay.
#pragma once

#include "transfer/posix.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace skep::guest {

/// A log that has grown beyond its cap loses its front (transfer/freed_front.hpp): an agent that
/// floods its output fills no disk with it, whether anybody fetches it or not. Where a file system
/// cannot free a front, the log grows.
class pane_log {
public:
  /// Opens (or creates, 0600) `file`. False: see errno. `cap_bytes` 0: no cap.
  bool open(const std::string& file, std::uint64_t cap_bytes);
  /// Appends as much as the disk takes, answers how much that was.
  std::size_t write(std::string_view data);
  void sync();
  /// Of the file, with the front that it may have lost: what lies there, whoever wrote it.
  std::uint64_t size() const;
  explicit operator bool() const { return static_cast<bool>(fd_); }

private:
  void trim();
  transfer::unique_fd fd_;
  std::uint64_t cap_ = 0, begin_ = 0;
};

} // namespace skep::guest
