// What the journal tells of input that was accepted: whether it was written, or what became of it.
#pragma once

#include "actors/domain.hpp"

#include <optional>

namespace skep::actors {

/// Input that was accepted, and nothing in the journal says what became of it.
struct open_input {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint64_t seq = 0; ///< The event that accepted it.
};

/// Those of `pane`, in the order in which they were accepted; none where the journal cannot be
/// read. Blocking; any thread.
std::vector<open_input> inputs_without_fate(const services& svc, const swarm_id& swarm,
                                            const sandbox_id& sandbox, const pane_id& pane);

/// How far the input came that was accepted as event `seq` under `key`, also where it was accepted
/// again later: `accepted` when nothing tells of its fate. Nothing when that part of the journal is
/// gone or cannot be read. Short reads; any thread.
std::optional<receipt> input_fate(const services& svc, std::uint64_t seq, const std::string& key);

} // namespace skep::actors
