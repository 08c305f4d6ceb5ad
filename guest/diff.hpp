// `skep-guest diff`: what a pane changed, as a patch, as files and as a summary.
#pragma once

#include "transfer/summary.hpp"

namespace skep::guest {

struct diff_options {
  std::string tree; ///< The pane's work tree.
  std::string base; ///< Commit the pane started from.
  std::string name; ///< Of the pane.
  std::string out;  ///< Directory for NAME.patch and NAME.tar; made when missing.
  /// The agent is still at work: its HEAD and index stay as they are. What it writes meanwhile may
  /// be in the result or not.
  bool look_only = false;
};

/// Commits what is not committed yet ("Uncommitted changes of NAME", ignored files stay out), then
/// writes OUT/NAME.patch and OUT/NAME.tar (pax, zstd: the files that were changed or added).
///
/// The patch is the mail series of the commits when applying it to the base gives exactly the
/// result; else (merges, rewritten history, messages that look like patches, a file changed and
/// later renamed or deleted, which `git apply` cannot follow) one diff, `squashed`. Applied with
/// `git apply` to the base it gives the tree in every case: this is checked here. Hooks, filters,
/// attributes, settings and locks that the agent left have no say. Called again it gives the same.
result<transfer::diff_summary> diff_pane(const diff_options& options);

} // namespace skep::guest
