// The SWARM: one per run. It packs the work tree once, starts the sandboxes, enforces the hard time
// limit, and writes the results of all panes together when the last sandbox is closed.
//
// swarm_actor.hpp is its class, swarm.cpp the order of these steps, swarm_sandboxes.hpp what it
// knows of its sandboxes, swarm_tree.cpp its place among supervisors, swarm_results.hpp what a run
// leaves.
#pragma once

#include "actors/domain.hpp"
#include "actors/supervisor.hpp"
#include "actors/time_limit.hpp"

#include <optional>

namespace skep::actors {

/// Handles of one swarm's actors, for those outside it.
class swarm_context {
public:
  services_ptr svc;
  std::shared_ptr<const swarm_spec> spec;
  swarm_id swarm;

  recorder_actor recorder() const { return locked(recorder_); }
  void recorder(recorder_actor x) { assign(recorder_, std::move(x)); }
  swarm_actor keeper() const { return locked(keeper_); }
  void keeper(swarm_actor x) { assign(keeper_, std::move(x)); }
  supervisor_actor sandboxes() const { return locked(sandboxes_); }
  void sandboxes(supervisor_actor x) { assign(sandboxes_, std::move(x)); }
  /// The limit of the run; here, so that a restart of the SWARM does not ask the wall clock again.
  std::optional<time_limit> limit() const { return locked(limit_); }
  void limit(time_limit x) { assign(limit_, std::optional<time_limit>{x}); }
  /// The SWARM was told that this daemon ends. Here, so that one that is restarted meanwhile does
  /// not take the end under way for that of a former daemon.
  bool daemon_ends() const { return locked(daemon_ends_); }
  void daemon_ends(bool x) { assign(daemon_ends_, x); }
  void clear() {
    recorder(recorder_actor{});
    keeper(swarm_actor{});
    sandboxes(supervisor_actor{});
  }

private:
  template <class T>
  T locked(const T& x) const {
    std::lock_guard guard{mutex_};
    return x;
  }
  template <class T>
  void assign(T& x, T y) {
    std::lock_guard guard{mutex_};
    std::swap(x, y); // the old handle is dropped outside of nothing that waits for this lock
  }
  mutable std::mutex mutex_;
  recorder_actor recorder_;
  swarm_actor keeper_;
  supervisor_actor sandboxes_;
  std::optional<time_limit> limit_;
  bool daemon_ends_ = false;
};
using swarm_context_ptr = std::shared_ptr<swarm_context>;

/// What a swarm starts from.
struct swarm_start {
  bool fresh = true;
  swarm_record record;       ///< When not fresh.
  command_accepted accepted; ///< When fresh and the command had a key: journaled with the swarm.
  std::vector<std::string> remarks = {}; ///< When fresh: told after swarm.created.
};

/// The SWARM itself; begin_a starts it. `closed` as below.
swarm_actor spawn_swarm(caf::scheduled_actor* parent, swarm_context_ptr context, swarm_start start,
                        std::function<void(const swarm_id&)> closed);

/// The child that supervises one swarm: RECORDER, SWARM, and the sandboxes' supervisor. `closed` is
/// called (in the SWARM's context) after swarm.closed is on disk.
child_spec swarm_child(swarm_context_ptr context, swarm_start start,
                       std::function<void(const swarm_id&)> closed);

} // namespace skep::actors
