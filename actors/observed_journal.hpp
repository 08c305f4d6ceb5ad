// Who looks on while the JOURNAL works: the daemon's log, metrics, health. Each is told of events
// that are on disk, in order, in the JOURNAL's own thread.
//
// An observer must be quick and must not throw; it keeps what it needs, under a lock of its own
// when others read it.
#pragma once

#include "actors/journal.hpp"

#include <functional>
#include <vector>

namespace skep::actors {

/// One event after its COMMIT.
struct committed_event {
  std::uint64_t seq = 0;
  const swarm_id& swarm;
  const sandbox_id& sandbox;
  utc_time at;
  std::uint32_t type = 0;
  const any_event& what;
};

class journal_observer {
public:
  virtual ~journal_observer() = default;
  virtual void on_event(const committed_event& e) = 0;
  /// A transaction ended: `events` in it, the oldest of them arose at `oldest`.
  virtual void on_commit(std::uint64_t events, utc_time oldest, utc_time now) {
    static_cast<void>(events);
    static_cast<void>(oldest);
    static_cast<void>(now);
  }
};
using observer_ptr = std::shared_ptr<journal_observer>;

/// The same backend, with observers told after every commit. Events that cannot be read (of a newer
/// release) are passed over.
std::unique_ptr<journal_backend> observe(std::unique_ptr<journal_backend> backend,
                                         std::vector<observer_ptr> observers,
                                         std::function<utc_time()> wall_now);

} // namespace skep::actors
