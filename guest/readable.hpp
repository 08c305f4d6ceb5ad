// Files and folders that an agent has made unreadable.
#pragma once

#include <string>
#include <vector>

namespace skep::guest {

/// The paths below the folder `tree` of regular files that cannot be read and of folders that
/// cannot be listed, in no order; nothing below such a folder. What is named ".git" is not looked
/// into. With `mend`, what belongs to this user is made readable first (u+r, a folder u+rx) and is
/// named only where that fails.
std::vector<std::string> unreadable_below(const std::string& tree, bool mend);

} // namespace skep::guest
