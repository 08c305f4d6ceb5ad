// What is too large to come back as a patch.
#pragma once

#include "guest/git.hpp"

namespace skep::guest {

/// Paths that the tree `to` changed against the tree `from` and that have to go without, so that
/// what is left has at most `most_bytes` of contents: the largest first, and no more of them than
/// that takes. Sorted; empty where all of it has room.
///
/// A path counts with what it held and what it holds, for a binary patch has both. What was only
/// renamed, or changed its mode, counts nothing. Errors as of git.
result<std::vector<std::string>> too_large(const git& repository, const std::string& from,
                                           const std::string& to, std::uint64_t most_bytes);

} // namespace skep::guest
