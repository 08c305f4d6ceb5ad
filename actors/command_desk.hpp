// The COMMANDS desk: everything of the control protocol that changes something. It starts swarms
// (as children of the `swarms` supervisor), stops them, hands input on, and ends the daemon.
//
// A command with an idempotency key is carried out once: the same key with the same body gets the
// first answer again, with another body errc::key_reused. Keys are kept 24 h.
#pragma once

#include "actors/domain.hpp"
#include "actors/supervisor.hpp"

namespace skep::actors {

/// Live swarms by id; shared by the desk and those who count them.
class swarm_registry {
public:
  std::size_t size() const {
    std::lock_guard guard{mutex_};
    return count_;
  }
  void size(std::size_t n) {
    std::lock_guard guard{mutex_};
    count_ = n;
  }

private:
  mutable std::mutex mutex_;
  std::size_t count_ = 0;
};

/// A swarm that a former daemon left open.
struct open_run {
  swarm_record record;
  swarm_spec spec;
};

/// `swarms` answers the supervisor under which swarms live. Open runs are taken up at once.
desk_actor spawn_command_desk(caf::scheduled_actor* parent, services_ptr svc,
                              std::function<supervisor_actor()> swarms,
                              std::shared_ptr<swarm_registry> registry, std::vector<open_run> open);

} // namespace skep::actors
