// Whether the patch and the files of a pane are the same change. Both came out of a sandbox, and
// nothing else binds them together: the patch is what people read, the files are what `skep apply`
// writes. The base is our own: what was uploaded.
#pragma once

#include "transfer/results.hpp"

namespace skep::transfer {

struct patch_proof {
  patch_origin origin = patch_origin::proven; ///< Or made_here, or without_links.
  bool anew = false;                          ///< A patch was written to `anew`; it is the better.
  std::string doubt;                          ///< With made_here: what differs, for people.
};

/// Applies the patch at `came` (absolute) to the originals of all that `x` touches, as `upload` has
/// them, and compares path, kind, executable bit and content with the files and deletions of `x`,
/// whose names were compared before. Where they differ, one diff from the originals to the files is
/// written to `anew`; also in the place of a patch without commits, so that no word of it is the
/// sandbox's. Works in the folder `scratch`, with git in a repository of our own. Costs one reading
/// of the upload, and otherwise what the touched paths cost. Errors: io, disk_full; unsafe_archive
/// and checksum for an upload that is damaged; verification when no patch can tell what the files
/// do.
result<patch_proof> prove_patch(const pane_changes& x, const std::string& came,
                                const std::string& upload, const std::string& scratch,
                                const std::string& anew);

} // namespace skep::transfer
