// The TRANSFER: one upload or one download of a sandbox, as a child of the sandbox's supervisor.
//
//   SANDBOX --add_child--> supervisor --starts--> TRANSFER --transfer_ending--> SANDBOX
//                              '--- in its place when it died or its deadline passed ---^
//
// Temporary: a failed transfer is not started again by the supervisor; what follows from it is the
// SANDBOX's to decide. transfer_base.hpp is what both kinds share.
#pragma once

#include "actors/domain.hpp"

#include <set>

namespace skep::actors {

/// What is uploaded: the bundle becomes the repository inside, its base commit, and one work tree
/// for each name (none when the tree is shared).
struct upload_plan {
  transfer_id transfer;
  std::shared_ptr<const upload_bundle> bundle;
  std::vector<std::string> trees;
};

/// What is brought back: the changes of one tree since the base, to out_dir/SWARM/`tree`*.
struct download_plan {
  transfer_id transfer;
  std::string tree; ///< A pane's name, or "sandbox-N" when the tree is shared.
  std::string base_commit;
};

/// Uploads, unpacks, verifies exactly (count, size, manifest hash), makes the base, runs the setup
/// of the spec, makes work trees. An archive of several parts
/// goes on with those that an earlier attempt, cut off or ended, has brought inside; all else
/// starts from nothing, so it may be repeated while no agent runs. A part that fails in passing
/// goes again. Steps of errors: upload, unpack, verify, base, setup, worktree. The setup has a
/// deadline of its own (policies::setup); one that does not end well is errc::setup_failed.
child_spec upload_child(context_ptr context, upload_plan plan);

/// The file among the results that the output of a sandbox's setup goes to: setup.log, setup-N.log
/// when the swarm has several sandboxes. Secrets in it are masked.
std::string setup_log_name(const sandbox_context& context);

/// The tag of the setup's process at envd.
inline constexpr const char* setup_tag = "skep-setup";

/// Computes the difference inside, downloads it, checks it (it is hostile) and unpacks it. Replaces
/// what an earlier attempt left. What fails in passing inside or on the way goes again
/// (policies::download_tries), all within policies::download_deadline. Steps of errors: diff,
/// download, unpack.
child_spec download_child(context_ptr context, download_plan plan);

/// The steps of a download's errors. An upload has an "unpack", too.
inline const std::set<std::string> download_steps = {"diff", "download", "unpack"};

} // namespace skep::actors
