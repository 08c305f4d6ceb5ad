// Open runs that nobody leads, since what they were started with cannot be read (a newer release
// wrote it, or the database is damaged): nothing of them can be collected, and only their end is
// left to be done. No actor: the COMMANDS desk uses it in its handlers, and has the chunks
// journaled.
#pragma once

#include "actors/command_desk.hpp"

namespace skep::actors {

/// Puts a chunk on disk, then calls back in the desk's context.
using append_chunk = std::function<void(chunk_ptr, std::function<void(result<std::uint64_t>)>)>;

/// Journals the end of a run that has no actors any more: an abandonment() of each open sandbox
/// with this outcome and this reason of its kill, then swarm.closed, whose sequence `then` is
/// given. The REAPER is woken for the kills. A run that is closed already is no error; one of which
/// not all could be written is, and may be ended again.
void end_unled(const services_ptr& svc, const append_chunk& append, const swarm_id& id, outcome as,
               const std::string& reason, const error& why,
               std::function<void(result<std::uint64_t>)> then);

class unreadable_runs {
public:
  using answer = std::function<void(result<std::uint64_t>)>;

  unreadable_runs(services_ptr svc, std::shared_ptr<swarm_registry> registry, append_chunk append)
      : svc_(std::move(svc)), registry_(std::move(registry)), append_(std::move(append)) {}

  /// `why` it cannot be read.
  void add(const swarm_id& id, error why) { runs_[id].why = std::move(why); }
  bool has(const swarm_id& id) const { return runs_.count(id) > 0; }
  bool empty() const { return runs_.empty(); }
  std::vector<swarm_id> ids() const;

  /// Ends it at once, whatever the mode: the mode says how that is told. Answers when the end is on
  /// disk, and at once for one that it does not have. Asked again meanwhile, both get one answer.
  void end(const swarm_id& id, stop_mode how, answer then);
  /// Ends those whose sandboxes' leases are all over, as timed out. A lease outlives the run's time
  /// limit, which nobody knows any more; one that nothing was made for is left to a release that
  /// can read it.
  void end_overdue();
  void clear();

private:
  struct run {
    error why;
    std::vector<answer> waiting; ///< Not empty: its end is on its way to the disk.
  };
  bool overdue(const swarm_id& id) const;

  services_ptr svc_;
  std::shared_ptr<swarm_registry> registry_;
  append_chunk append_;
  std::map<swarm_id, run> runs_;
};

} // namespace skep::actors
