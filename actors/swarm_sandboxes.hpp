// What a SWARM knows about its sandboxes: which are open, how to reach them, how a new one is
// planned, and what is journaled of one that nobody looks after any more. No actor.
#pragma once

#include "actors/sandbox.hpp"

#include <map>
#include <set>

namespace skep::actors {

/// A fresh sandbox, number `index` of its swarm, with its panes; the ids are drawn here, that of
/// the sandbox unless it is given.
sandbox_start plan_sandbox(const swarm_spec& spec, const swarm_id& swarm, std::uint32_t index,
                           const sandbox_id& id = sandbox_id::make());

/// The panes of a sandbox that are not among `known`, by their numbers, planned as the others were.
std::vector<pane_record> missing_panes(const swarm_spec& spec, const sandbox_record& sandbox,
                                       const std::vector<pane_record>& known);

/// Numbers of the sandboxes of a run that the tables do not know, open or closed.
std::vector<std::uint32_t> missing_indices(const swarm_spec& spec,
                                           const std::vector<sandbox_record>& known);

/// The chunk that closes a sandbox whose actors are gone: its open panes, a kill intent (the
/// REAPER's order) where it lives at the provider, for `reason`, and its end. wrong_phase when it
/// is closed already. Reads the tables.
result<chunk_ptr> abandonment(const services& svc, const sandbox_id& sandbox, const error& why,
                              outcome end = outcome::failed,
                              const std::string& reason = "supervisor gave up");

/// Why a swarm stops, as swarm.phase_changed says it: "stop", "time limit", "kill", "budget",
/// "the daemon ends".
std::string reason_of(stop_mode how);
/// How a swarm that a former life left stopping goes on; `over`: its time limit is reached.
stop_mode former_stop(const swarm_record& record, bool over);

/// The sandboxes of one SWARM, used in its handlers only.
class sandbox_set {
public:
  /// Makes the context of a sandbox that is about to start; it is open from here on.
  context_ptr add(const services_ptr& svc, std::shared_ptr<const swarm_spec> spec,
                  std::shared_ptr<sandbox::api> api, const sandbox_start& start);
  bool open(const sandbox_id& id) const { return open_.count(id) > 0; }
  bool any_open() const { return !open_.empty(); }
  /// No longer open; false when it was not.
  bool close(const sandbox_id& id) { return open_.erase(id) > 0; }
  /// Forgets a sandbox and its handles.
  void drop(const sandbox_id& id);
  /// Forgets all.
  void clear();
  /// Tells every open sandbox that has an actor now to end.
  void tell_stop(stop_mode how) const;
  /// The SANDBOX of a pane that runs; null when there is none.
  sandbox_actor keeper_of(const pane_id& pane) const;
  /// Those that are open and have an actor: the one of this id, or all for an empty one.
  open_sandboxes keepers(const sandbox_id& only) const;
  /// The SANDBOX of this id; null when it is not open.
  sandbox_actor keeper_of(const sandbox_id& sandbox) const;

private:
  std::map<sandbox_id, context_ptr> all_;
  std::set<sandbox_id> open_;
};

} // namespace skep::actors
