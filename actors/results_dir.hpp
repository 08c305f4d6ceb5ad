// Where the results of a swarm go. The folder that the user named may vanish while a run goes on
// for hours, or something else may take its place; results are not lost for that:
//
//   OUT/SWARM               made again when it is gone, with the record of the base; what was in it
//                           is gone
//   STATE/results/SWARM     when OUT cannot be a folder that we write to, or its disk is full. From
//                           then on all results of this swarm go there, with copies of those that
//                           lie in OUT/SWARM. Nobody removes them but the user.
//
// Blocking; any thread.
#pragma once

#include "actors/domain.hpp"

#include <functional>

namespace skep::actors {

struct results_place {
  std::filesystem::path dir; ///< Exists.
  error elsewhere;           ///< Why it is not in the folder that the user named; or none.
  bool made_again = false;   ///< Just now: what had been in it is gone.
  bool moved = false;        ///< Just now: the first results that go elsewhere.
  /// With `moved`: trees whose results could not be read any more in the user's folder.
  std::vector<std::string> left_behind;
};

/// The folder for results of this swarm, made where it is missing. Where the user's cannot be
/// written to any more, what lies there is copied to the other one first, as far as it can be read.
/// io: neither of them can be; disk_full: the one that is right has no room for the record of the
/// base or for those copies, and nothing has changed.
result<results_place> results_dir(const services& svc, const swarm_spec& spec,
                                  const swarm_id& swarm);

/// For results that the user's folder has no room for, which was `why`. `store` puts them into a
/// folder beside copies of what is in the user's, and when it has, that becomes
/// STATE/results/SWARM: the results of a swarm stay together. Where they go there already, `store`
/// gets that one. Its error is answered and changes nothing, as does disk_full where the copies
/// have no room. Meanwhile other calls of results_dir() wait.
result<results_place>
store_elsewhere(const services& svc, const swarm_spec& spec, const swarm_id& swarm,
                const error& why,
                const std::function<result<void>(const std::filesystem::path&)>& store);

/// What all panes of this swarm began with, as it was uploaded; until the swarm ends, or longer as
/// work_files.hpp says.
std::filesystem::path uploaded_archive(const services& svc, const swarm_id& swarm);

/// Where the record of the base is kept for a folder that must be made again, until the swarm ends.
std::filesystem::path kept_base_dir(const services& svc, const swarm_id& swarm);

/// Makes the user's folder of results where there is none. In a work tree it is nobody's work: git
/// shall not list it, and a clean tree shall stay clean. Only where we make it.
void make_out_dir(const std::filesystem::path& out_dir);

/// What is told of a place that is not as it was; none for an ordinary one.
std::optional<notice> notice_of(const results_place& place, const swarm_id& swarm);

} // namespace skep::actors
