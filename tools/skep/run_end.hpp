// What the end of a run tells people besides its table, read from its folder of results.
#pragma once

#include <string>

namespace skep::cli {

/// Which panes' changes collide, a line each, and which of them swarm.patch leaves out; empty where
/// none do. `folder`: OUT/SWARM. Without a summary.json that can be read nothing is told.
std::string collisions_text(const std::string& folder);

/// A line with the commands that show and take over the results of `swarm`; empty when no pane in
/// `folder` changed anything.
std::string next_step(const std::string& folder, const std::string& swarm);

} // namespace skep::cli
