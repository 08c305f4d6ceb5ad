// `skep-guest changed`: whether a pane's result would hold anything.
#pragma once

#include "messages/error.hpp"

#include <string>

namespace skep::guest {

/// True when the work tree `tree` holds anything else than the commit `base`: in its HEAD, or in
/// files that are not committed. What `skep-guest diff` leaves out does not count (files that git
/// ignores, repositories inside the tree). Changes nothing there; the agent's index has no say.
result<bool> tree_changed(const std::string& tree, const std::string& base);

} // namespace skep::guest
