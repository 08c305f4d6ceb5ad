// The COMMANDS desk: everything of the control protocol that changes something. It starts swarms
// (as children of the `swarms` supervisor), stops them, hands input on, and ends the daemon.
//
// A command with an idempotency key is carried out once: the same key with the same body gets the
// first answer again, with another body errc::key_reused. Keys are kept 24 h.
#pragma once

#include "actors/domain.hpp"
#include "actors/supervisor.hpp"

#include <atomic>
#include <map>
#include <set>
#include <vector>

namespace skep::actors {

/// A desk that has a mailbox for waits of its own.
using desk_with_mailbox =
    caf::typed_actor<caf::replies_to<handle_a, request_frame>::with<reply_frame>,
                     // INTERNAL: a wait is over.
                     caf::reacts_to<done_a, continuation>>;

class swarm_context;

/// Live swarms by id; written by the desk, read by those who count them or reach into them.
class swarm_registry {
public:
  using context = std::shared_ptr<swarm_context>;
  using ender = std::function<void(stop_mode)>;
  std::size_t size() const {
    std::lock_guard guard{mutex_};
    return live_.size();
  }
  /// Null when no such swarm is live.
  context find(const swarm_id& id) const {
    std::lock_guard guard{mutex_};
    auto i = live_.find(id);
    return i == live_.end() ? nullptr : i->second;
  }
  void put(const swarm_id& id, context x) {
    std::lock_guard guard{mutex_};
    live_[id] = std::move(x);
  }
  void drop(const swarm_id& id) {
    ender gone; // it may hold the last handle of an actor: dropped after the lock
    std::lock_guard guard{mutex_};
    live_.erase(id);
    if (auto i = unreadable_.find(id); i != unreadable_.end()) {
      gone = std::move(i->second);
      unreadable_.erase(i);
    }
  }
  void clear() {
    std::map<swarm_id, ender> gone;
    std::lock_guard guard{mutex_};
    live_.clear();
    gone.swap(unreadable_);
  }
  /// All that are live.
  std::vector<context> all() const {
    std::lock_guard guard{mutex_};
    std::vector<context> out;
    for (const auto& [id, x] : live_)
      out.push_back(x);
    return out;
  }
  /// An open run that nobody leads, since its spec cannot be read: how it is ended. Any thread may
  /// ask for that, again and again.
  void put_unreadable(const swarm_id& id, ender end) {
    std::lock_guard guard{mutex_};
    unreadable_[id] = std::move(end);
  }
  /// All such runs that are still open.
  std::vector<swarm_id> unreadable() const {
    std::lock_guard guard{mutex_};
    std::vector<swarm_id> out;
    for (const auto& [id, end] : unreadable_)
      out.push_back(id);
    return out;
  }
  bool unreadable(const swarm_id& id) const {
    std::lock_guard guard{mutex_};
    return unreadable_.count(id) > 0;
  }
  /// Has one ended, if it is one: its sandboxes are killed, nothing is collected.
  void end_unreadable(const swarm_id& id, stop_mode how) const {
    ender end;
    {
      std::lock_guard guard{mutex_};
      if (auto i = unreadable_.find(id); i != unreadable_.end()) end = i->second;
    }
    if (end) end(how);
  }
  /// No new runs are taken: by `skep drain`, or since the daemon ends.
  bool draining() const { return draining_; }
  void draining(bool on) { draining_ = on; }
  bool ending() const { return ending_; }
  void ending(bool on) { ending_ = on; }
  /// True once for each swarm: for what a desk that is started again has told before.
  bool first_word_of(const swarm_id& id) {
    std::lock_guard guard{mutex_};
    return told_.insert(id).second;
  }

private:
  mutable std::mutex mutex_;
  std::map<swarm_id, context> live_;
  std::map<swarm_id, ender> unreadable_;
  std::set<swarm_id> told_; ///< See first_word_of().
  std::atomic<bool> draining_{false};
  std::atomic<bool> ending_{false};
};

/// A swarm that a former daemon left open.
struct open_run {
  swarm_record record;
  result<swarm_spec> spec; ///< Or why it cannot be read.
};

/// `swarms` answers the supervisor under which swarms live. Open runs are taken up at once, and
/// what lies in the state directory of others than `open` is removed: it must name all that are
/// open. One whose spec cannot be read keeps its files and is told, once in the daemon's life; it
/// is ended by a kill, a panic, its budget, or the end of its sandboxes' leases
/// (unreadable_runs.hpp).
desk_actor spawn_command_desk(caf::scheduled_actor* parent, services_ptr svc,
                              std::function<supervisor_actor()> swarms,
                              std::shared_ptr<swarm_registry> registry, std::vector<open_run> open);

} // namespace skep::actors
