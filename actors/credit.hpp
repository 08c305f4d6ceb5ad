// The global bound on what is on its way to the journal: CAF mailboxes have none.
#pragma once

#include <atomic>
#include <cstddef>

namespace skep::actors {

/// Counts bytes of chunks that were sent to the JOURNAL and not answered yet, over all producers.
/// Thread-safe. A producer without credit keeps its chunk and asks again; facts that somebody waits
/// for may use a reserve on top, so that notes cannot block them.
class credit_pool {
public:
  static constexpr std::size_t default_bytes = 32u * 1024 * 1024;
  static constexpr std::size_t default_reserve_bytes = 8u * 1024 * 1024;

  explicit credit_pool(std::size_t bytes = default_bytes,
                       std::size_t reserve_bytes = default_reserve_bytes)
      : limit_(bytes), reserve_(reserve_bytes) {}

  /// Takes `size` bytes when they fit. `urgent` may use the reserve. A chunk larger than the whole
  /// pool is let through when nothing else is outstanding.
  bool take(std::size_t size, bool urgent) {
    const auto limit = limit_ + (urgent ? reserve_ : 0);
    auto used = used_.load(std::memory_order_relaxed);
    do {
      if (used != 0 && used + size > limit) return false;
    } while (!used_.compare_exchange_weak(used, used + size, std::memory_order_relaxed));
    return true;
  }
  void give_back(std::size_t size) { used_.fetch_sub(size, std::memory_order_relaxed); }
  std::size_t used() const { return used_.load(std::memory_order_relaxed); }
  std::size_t limit() const { return limit_; }

private:
  std::size_t limit_;
  std::size_t reserve_;
  std::atomic<std::size_t> used_{0};
};

} // namespace skep::actors
