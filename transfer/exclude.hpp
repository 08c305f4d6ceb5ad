// Names that never leave the user's machine, whatever the ignore files say (row S1-25).
#pragma once

#include <string_view>
#include <vector>

namespace skep::transfer {

/// The patterns, for printing. Without '/': a glob for any component of a path. With '/': the end
/// of the path; "NAME/**": everything below a directory NAME.
const std::vector<std::string_view>& always_excluded();

/// The pattern by which `path` (relative, '/'-separated) is excluded; empty when it is not.
std::string_view excluded_reason(std::string_view path);

} // namespace skep::transfer
