// What several panes of a swarm did to the same paths, and in which order their changes go
// together: first by paths, then by lines, then by merging for trial (git merge-file in a scratch
// directory, with the content that was uploaded as the common ancestor).
#pragma once

#include "messages/records.hpp"
#include "transfer/kept.hpp"

namespace skep::transfer {

struct collision_limits {
  std::size_t programs = 4000; ///< Runs of git; what would need more is counted, not looked at.
  std::size_t listed = 1000;   ///< Longest list of collisions.
};

struct collisions_found {
  std::vector<collision> list; ///< Worst first, then by path.
  std::uint64_t left_out = 0;
  /// All panes with changes: those that go together, those with the fewest shared paths first,
  /// then `unmergeable`.
  std::vector<std::string> order;
  /// A trial merge upon those before them failed, or was not tried because of the limits.
  std::vector<std::string> unmergeable;
};

/// Paths (and names) that more than one of the panes touches. With `with` only those that one of
/// these panes touches.
std::set<std::string> shared_paths(const std::vector<kept_pane>& panes,
                                   const std::set<std::string>* with = nullptr);

/// `dir` is OUT/SWARM; the originals of shared paths must have been kept there (keep_originals),
/// else they do not merge. Blocks: two runs of git for each pane and shared path. What is merged
/// for trial lies below `scratch`; empty: in the machine's folder for temporary files, where a kill
/// leaves it.
result<collisions_found> find_collisions(const std::string& dir, const kept_base& base,
                                         const std::vector<kept_pane>& panes,
                                         const std::set<std::string>* with = nullptr,
                                         const collision_limits& limits = {},
                                         const std::string& scratch = {});

} // namespace skep::transfer
