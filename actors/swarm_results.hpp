// What a swarm leaves in its output folder besides the panes' own files: logs, swarm.patch,
// summary.json. Blocking; runs in the work pool.
//
//   OUT/SWARM/NAME.patch       one pane's commits, as git format-patch wrote them inside
//   OUT/SWARM/NAME/files/      its added and changed files
//   OUT/SWARM/NAME.log         its log, newest generation
//   OUT/SWARM/NAME.lost-N.log  that of the sandbox which was the Nth to be lost and replaced
//   OUT/SWARM/swarm.patch      the patches of all panes that overlap with no other
//   OUT/SWARM/summary.json     docs/json/summary.schema.json
//   (or STATE/results/SWARM/..., when OUT became useless: results_dir.hpp)
//   OUT/SWARM/base.json, ...   what results are compared with and taken over upon:
//   transfer/kept.hpp
#pragma once

#include "actors/sandbox.hpp"
#include "transfer/collision.hpp"

namespace skep::actors {

struct swarm_results {
  std::vector<std::string> merged;    ///< Panes whose patch is in swarm.patch.
  std::vector<std::string> conflicts; ///< Panes left out of it.
  transfer::collisions_found met;
  std::optional<notice> about_place; ///< When it is not the folder that the user named.
};

/// Writes everything that can be written; the first error is kept, the rest goes on.
result<swarm_results> write_results(const services& svc, const swarm_spec& spec,
                                    const swarm_id& swarm,
                                    const std::vector<sandbox_record>& sandboxes,
                                    const std::vector<pane_record>& panes,
                                    const std::vector<replacement_record>& replacements = {});

/// Lost sandboxes of a swarm that have a successor; none where nobody keeps them.
result<std::vector<replacement_record>> replacements_of(const services& svc, const swarm_id& swarm);

/// The swarm's last event from the ends of its sandboxes and panes: `failed` outweighs the other
/// bad outcomes, the first of those counts; the error is that of the first sandbox that has one.
swarm_closed verdict_of(const std::vector<sandbox_record>& sandboxes,
                        const std::vector<pane_record>& panes);

/// Which panes of those collected so far changed the same paths. With `with` only where one of
/// these took part. base_missing for a swarm that an older release began. Blocking.
result<transfer::collisions_found> find_collisions_of(const services& svc, const swarm_spec& spec,
                                                      const swarm_id& swarm,
                                                      const std::set<std::string>* with);

/// The same for the panes of sandboxes that were just closed; nothing for a swarm without a record
/// of its base. Blocking.
result<std::vector<collision>> collisions_with(const services& svc, const swarm_spec& spec,
                                               const swarm_id& swarm,
                                               const std::vector<sandbox_id>& closed);

struct concluded {
  swarm_closed end;
  std::vector<collision> met;
  std::optional<notice> about_place; ///< As above.
};

/// Writes the results of a swarm whose sandboxes are all closed and gives its verdict. Blocking.
result<concluded> conclude(const services& svc, const swarm_spec& spec, const swarm_id& swarm);

/// True when the journal has this very report of a scan. For a swarm without sandboxes yet: reads
/// all its events. Blocking.
bool scan_is_on_record(const services& svc, const swarm_id& swarm, const swarm_scanned& what);

/// A bundle, and what people may want to know of how it was made.
struct prepared_bundle {
  upload_bundle bundle;
  std::vector<notice> notices; ///< pack_reused, pack_not_kept.
};

/// Packs the user's work tree for this swarm, or takes the bundle an earlier daemon made, with what
/// its scan found. Blocking; cancelled soon after the pool began to stop.
result<prepared_bundle> prepare_bundle(const services& svc, const swarm_spec& spec,
                                       const swarm_id& swarm);

} // namespace skep::actors
