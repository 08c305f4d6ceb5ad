// What skep-guest does with files in a simulated sandbox: an archive becomes a work tree, a pane's
// changes become a patch and an archive. The real archive code does both, on a temporary directory
// that is gone when the call returns; each call blocks for as long as that takes.
#pragma once

#include "host/sim/box.hpp"

namespace skep::host::sim {

/// The tree that `archive` holds; the same one for the same archive. unsafe_archive, io.
result<std::shared_ptr<const tree>> tree_of(surroundings& world, const std::string& archive);

/// What `skep-guest diff` leaves: DIR/NAME.patch and DIR/NAME.tar, and the summary it prints.
/// errc::refused for a change of a binary file, which this simulator makes no patch of.
result<json> write_diff(box& where, const std::string& tree_path, const std::string& base,
                        const std::string& name, const std::string& out_dir);

/// What `skep-guest changed` prints.
result<json> say_changed(const box& where, const std::string& tree_path);

} // namespace skep::host::sim
