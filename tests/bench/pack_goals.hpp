// Packing beside tar, zstd and gzip; its memory; and the second packing of a tree that did not
// change.
#pragma once

#include <string>

namespace skep::bench {

/// Prints figures beside their goals; false when one is missed. Makes trees of 100 MB and 1 GB in a
/// temporary directory (`tiny`: one of 10 MB, and no figures of memory).
bool pack_goals(bool tiny);

/// What a child process does: packs the tree once, and prints the most memory it had, in KiB.
int pack_once(const std::string& tree, const std::string& kind);

} // namespace skep::bench
