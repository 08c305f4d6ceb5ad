// Two small tables that actors write and read across the tree. Thread-safe.
#pragma once

#include "messages/ids.hpp"

#include <functional>
#include <map>
#include <mutex>
#include <optional>

namespace skep::actors {

/// Sandboxes whose envd does not answer any more, though the provider still has them. Written by
/// HEALTH POLLERS, read by ADMISSION, which takes their places first.
class ailing_board {
public:
  /// `give_up` ends the sandbox; any thread.
  void put(const sandbox_id& id, std::function<void()> give_up) {
    std::lock_guard guard{mutex_};
    all_[id] = std::move(give_up);
  }
  void drop(const sandbox_id& id) {
    std::lock_guard guard{mutex_};
    all_.erase(id);
  }
  std::map<sandbox_id, std::function<void()>> all() const {
    std::lock_guard guard{mutex_};
    return all_;
  }

private:
  mutable std::mutex mutex_;
  std::map<sandbox_id, std::function<void()>> all_;
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
