// Two small tables that actors write and read across the tree. Thread-safe.
#pragma once

#include "messages/ids.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

namespace skep::actors {

/// One that does not answer.
struct ailing_sandbox {
  std::uint64_t order = 0;       ///< Of those on the board, the one that came first has the lowest.
  std::function<void()> give_up; ///< Ends it; any thread.
};

/// Sandboxes whose envd does not answer any more, though the provider answers and still has them.
/// Written by HEALTH POLLERS, read by ADMISSION, which takes their places first.
class ailing_board {
public:
  /// `give_up` ends the sandbox; any thread. One that is there already keeps its place.
  void put(const sandbox_id& id, std::function<void()> give_up) {
    std::lock_guard guard{mutex_};
    auto [i, is_new] = all_.try_emplace(id);
    if (is_new) i->second.order = ++last_;
    i->second.give_up = std::move(give_up);
  }
  void drop(const sandbox_id& id) {
    std::lock_guard guard{mutex_};
    all_.erase(id);
  }
  std::map<sandbox_id, ailing_sandbox> all() const {
    std::lock_guard guard{mutex_};
    return all_;
  }

private:
  mutable std::mutex mutex_;
  std::map<sandbox_id, ailing_sandbox> all_;
  std::uint64_t last_ = 0;
};

/// What is left of the tightest budget of each swarm, the cost of its end taken off. Written by
/// ADMISSION, read by SANDBOXES, which bound their models by it.
class rest_board {
public:
  void put(const swarm_id& id, double usd) {
    std::lock_guard guard{mutex_};
    rest_[id] = usd;
  }
  void drop(const swarm_id& id) {
    std::lock_guard guard{mutex_};
    rest_.erase(id);
  }
  /// Nothing: no budget is in force.
  std::optional<double> of(const swarm_id& id) const {
    std::lock_guard guard{mutex_};
    auto i = rest_.find(id);
    return i == rest_.end() ? std::nullopt : std::optional{i->second};
  }

private:
  mutable std::mutex mutex_;
  std::map<swarm_id, double> rest_;
};

} // namespace skep::actors
