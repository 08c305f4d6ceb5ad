// `skep-guest view`: a pane for people, in a terminal.
#pragma once

#include "messages/error.hpp"

#include <string>

namespace skep::guest {

/// Prints the log of the pane in `dir`, from its beginning, until the agent has ended. Lines typed
/// go to the agent. Ends with ok also when standard output is closed.
result<void> view_pane(const std::string& dir);

} // namespace skep::guest
