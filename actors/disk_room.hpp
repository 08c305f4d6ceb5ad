// How much room the disk of STATE has, for who writes there what may as well wait. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

namespace skep::actors {

/// One look at a file system for all who write to it. Between two looks it counts what they were
/// given, so that hundreds of them do not fill it on the word of an old answer.
class disk_room {
public:
  /// `free` asks the file system, `now` is an elapsed time. Both are called by whoever asks, one at
  /// a time.
  disk_room(std::function<std::uint64_t()> free, std::function<std::chrono::milliseconds()> now)
      : ask_(std::move(free)), now_(std::move(now)) {}

  /// True where `kept` bytes stay free beside `bytes` more, which count as written from then on.
  /// The file system is asked where its last answer is as old as `age`.
  bool take(std::uint64_t bytes, std::uint64_t kept, std::chrono::milliseconds age) {
    std::lock_guard guard{mutex_};
    auto at = now_();
    if (!looked_ || at - *looked_ >= age) {
      free_ = ask_();
      looked_ = at;
    }
    if (free_ < bytes || free_ - bytes < kept) return false;
    free_ -= bytes;
    return true;
  }

private:
  std::function<std::uint64_t()> ask_;
  std::function<std::chrono::milliseconds()> now_;
  std::mutex mutex_;
  std::optional<std::chrono::milliseconds> looked_;
  std::uint64_t free_ = 0;
};

} // namespace skep::actors
