// How many sandboxes may be followed by a stream of their own. Thread-safe.
//
//   streams at a time (http_engine.hpp) |---- followers, at most places ----|-- commands, polls --|
//
// A follower's stream is open for as long as its sandbox lives. Were every stream a follower's,
// commands would wait for nothing, and no agent would start any more.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace skep::actors {

class follower_places {
public:
  explicit follower_places(std::size_t most) : most_(most) {}

  /// Of so many streams, a fifth is left to commands and to short followers.
  static std::size_t share_of(std::size_t streams) { return streams - streams / 5; }

  bool take() {
    auto n = taken_.load();
    while (n < most_)
      if (taken_.compare_exchange_weak(n, n + 1)) return true;
    return false;
  }
  void give_back() { --taken_; }

private:
  const std::size_t most_;
  std::atomic<std::size_t> taken_{0};
};

/// One place, or none; given back with its end.
class follower_place {
public:
  follower_place() = default;
  /// True when there is one: that taken before, or a new one. Without `from` there always is.
  bool have(const std::shared_ptr<follower_places>& from) {
    if (from_ || !from) return true;
    if (!from->take()) return false;
    from_ = from;
    return true;
  }
  void give_back() {
    if (auto from = std::exchange(from_, nullptr)) from->give_back();
  }
  ~follower_place() { give_back(); }
  follower_place(const follower_place&) = delete;
  follower_place& operator=(const follower_place&) = delete;

private:
  std::shared_ptr<follower_places> from_;
};

} // namespace skep::actors
