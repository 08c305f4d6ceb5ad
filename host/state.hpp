// The state directory, 0700, owned by the user that sandboxes run as:
//
//   host.lock          locked by the one host that serves this directory
//   bin/               copies of skep-host and skep-envd, root's (only when started by root)
//   holders/ID/        of one holder, which keeps a lock on it for as long as it lives; never seen
//   inside
//     ctl.sock         the holder's control socket (holder_link.hpp)
//     envd.sock        what skep-envd listens on; the descriptor goes in, the path does not
//     run/gateway.sock the gateway; run/ is /run/skep inside, read-only
//   sandboxes/ID/home  the sandbox's /home/user
//
// A holder's directory without a lock belongs to a dead holder and is swept.
#pragma once

#include "host/posix.hpp"

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

namespace skep::host {

struct state_dir {
  std::string path;
  unique_fd root, holders, sandboxes;
};

/// Opens the directory, making what is missing in it.
result<state_dir> open_state(const std::string& path);

/// Takes the host's lock; errc::exists when another host serves the directory.
result<unique_fd> lock_state(const state_dir& state);

/// Ids that have a holder's directory.
std::vector<std::string> list_holders(const state_dir& state);

/// A holder's claim on its directory: makes it and locks it. errc::exists when it is taken.
result<unique_fd> claim_holder(const state_dir& state, const std::string& id);

enum class sweep_outcome : std::uint8_t {
  alive,   ///< Its holder lives, or nobody can tell at present: nothing was touched.
  swept,   ///< Nothing of it is left.
  leftover ///< Dead, but not everything could be removed: try again.
};
/// The lock of a dead holder's directory, which keeps other sweepers and a holder away while it is
/// kept; an empty one where there is no directory. errc::exists as sweep_outcome::alive. Does not
/// block.
result<unique_fd> claim_remains(const state_dir& state, const std::string& id);
/// Removes what a dead holder left, under the claim on it; never `alive`. Blocks for as long as
/// removal takes, or until `stop` is true: then the rest is a leftover, which a next host finds.
sweep_outcome sweep_claimed(const state_dir& state, const std::string& id, const unique_fd& claim,
                            const std::atomic<bool>* stop = nullptr);
/// Both in one.
sweep_outcome sweep_holder(const state_dir& state, const std::string& id);

/// Removes home and directory, under the claim. The directory stays when not all of the home could
/// be removed: by it the next host finds the rest.
result<void> remove_holder(const state_dir& state, const std::string& id,
                           const std::atomic<bool>* stop = nullptr);

} // namespace skep::host
