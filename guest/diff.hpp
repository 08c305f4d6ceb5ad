// `skep-guest diff`: what a pane changed, as a patch, as files and as a summary.
#pragma once

#include "transfer/summary.hpp"

namespace skep::guest {

/// `git apply` refuses a patch of 1023 MiB, and what cannot be compressed is written with 67 bytes
/// for 52 (base85 in lines): these are 660 MiB of the patch, and leave room for headers.
struct diff_limits {
  /// Contents of the files that a pane changed, before and after; beyond it the largest stay
  /// inside.
  std::uint64_t patched_bytes = 512ull << 20;
};

struct diff_options {
  std::string tree; ///< The pane's work tree.
  std::string base; ///< Commit the pane started from.
  std::string name; ///< Of the pane.
  std::string out;  ///< Directory for NAME.patch, NAME.tar and NAME.json; made when missing.
  /// The sandbox's own repository, which holds the base. The agent may have made that of its tree
  /// anew. Empty: none but the tree's.
  std::string repo = {};
  /// The agent is still at work: its HEAD, its index and the modes of its files stay as they are.
  /// What it writes meanwhile may be in the result or not.
  bool look_only = false;
  diff_limits limits = {};
};

/// Commits what is not committed yet ("Uncommitted changes of NAME", ignored files stay out), then
/// writes OUT/NAME.patch and OUT/NAME.tar (pax, zstd: the files that were changed or added).
///
/// The patch is the mail series of the commits when applying it to the base gives exactly the
/// result; else (merges, rewritten history, messages that look like patches, a file changed and
/// later renamed or deleted, which `git apply` cannot follow) one diff, `squashed`. Applied with
/// `git apply` to the base it gives the tree in every case: this is checked here. Hooks, filters,
/// attributes, settings and locks that the agent left have no say. Called again it gives the same.
///
/// What an agent did to its repository costs its history alone: with another repository, none, or a
/// branch without a commit the result is that of the tree against the base, as one diff
/// (`no_history`). Files that cannot be read are made readable where they are ours; what is left is
/// named (`unreadable`) and as in the base. So are the largest files where there is more than a
/// patch can hold (`too_large`), which would cost all others, too. not_found: no repository holds
/// the base any more.
///
/// A disk that is full costs nothing of it as long as another one has room (guest/room.hpp): then
/// OUT, or the first part of its path that is missing, is a link to a folder there, and HEAD and
/// index stay as they are.
result<transfer::diff_summary> diff_pane(const diff_options& options);

/// The same with the summary in OUT/NAME.json, and the short answer that announces this file.
result<json> answer_diff(const diff_options& options);

} // namespace skep::guest
