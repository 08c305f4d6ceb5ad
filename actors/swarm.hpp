// The SWARM: one per run. It packs the work tree once, starts the sandboxes, enforces the hard time
// limit, and writes the results of all panes together when the last sandbox is closed.
#pragma once

#include "actors/domain.hpp"
#include "actors/supervisor.hpp"

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
};
using swarm_context_ptr = std::shared_ptr<swarm_context>;

/// What a swarm starts from.
struct swarm_start {
  bool fresh = true;
  swarm_record record;       ///< When not fresh.
  command_accepted accepted; ///< When fresh and the command had a key: journaled with the swarm.
};

/// The child that supervises one swarm: RECORDER, SWARM, and the sandboxes' supervisor. `closed` is
/// called (in the SWARM's context) after swarm.closed is on disk.
child_spec swarm_child(swarm_context_ptr context, swarm_start start,
                       std::function<void(const swarm_id&)> closed);

} // namespace skep::actors
