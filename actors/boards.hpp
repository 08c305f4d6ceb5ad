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

/// What the tables said at one moment of a swarm's money.
struct budget_rest {
  double usd = 0; ///< Left of its tightest budget, the cost of its end taken off.
  std::map<sandbox_id, double> models_usd; ///< What the models of each sandbox had cost by then.
};

/// The rest of each swarm's budgets. Written by ADMISSION, read by SANDBOXES, which bound their
/// models by it.
class rest_board {
public:
  /// In place of all that were there. A swarm that is not among them has no budget in force.
  void put(std::map<swarm_id, budget_rest> all) {
    std::lock_guard guard{mutex_};
    rest_ = std::move(all);
    known_ = true;
  }
  /// False until something was put: that no budget is in force is then no knowledge.
  bool known() const {
    std::lock_guard guard{mutex_};
    return known_;
  }
  /// What the models of a sandbox may cost in all, in USD; nothing: no budget is in force. Both
  /// parts are of one moment: a newer cost with an older rest would allow what was spent between.
  std::optional<double> models_of(const swarm_id& id, const sandbox_id& sandbox) const {
    std::lock_guard guard{mutex_};
    auto i = rest_.find(id);
    if (i == rest_.end()) return std::nullopt;
    auto spent = i->second.models_usd.find(sandbox);
    return i->second.usd + (spent == i->second.models_usd.end() ? 0 : spent->second);
  }

private:
  mutable std::mutex mutex_;
  std::map<swarm_id, budget_rest> rest_;
  bool known_ = false;
};

} // namespace skep::actors
