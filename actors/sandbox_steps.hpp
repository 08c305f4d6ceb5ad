// The steps of a sandbox's life that talk to its inside, as plain continuation-passing functions:
// each calls `then` exactly once, on any thread, and keeps no state of its own.
#pragma once

#include "actors/domain.hpp"

namespace skep::actors {

/// Facts about the inside after verification.
struct inside_facts {
  std::int64_t uid = 0;
};

/// Asks envd's health and who we are inside; refused when it is root (row S2-06).
void verify_inside(context_ptr ctx, sandbox::done<inside_facts> then);

/// Ends short commands of skep-guest that a former daemon started and that still run (an unpack, a
/// diff): their steps are about to be repeated. Panes and their holders are not touched.
void stop_leftovers(context_ptr ctx, sandbox::done<void> then);

/// Uploads skep-guest under its hash, makes it executable, checks that it runs.
void provision_guest(context_ptr ctx, sandbox::done<void> then);

/// What the upload left inside.
struct upload_facts {
  std::string base_commit;
  bool is_head = false;
};

/// Uploads the bundle, unpacks it, verifies it exactly (count, size, manifest hash), makes the base
/// commit and one work tree per name. Starts from nothing each time, so it may be repeated.
void upload_tree(context_ptr ctx, std::shared_ptr<const upload_bundle> bundle,
                 std::vector<std::string> pane_names, sandbox::done<upload_facts> then);

/// Changes of one tree, brought to `folder` (NAME.patch, NAME.tar) on this machine.
struct collected {
  std::filesystem::path patch;
  std::filesystem::path archive;
  std::uint64_t patch_bytes = 0;
  std::uint64_t archive_bytes = 0;
  std::string summary; ///< skep-guest's JSON: a claim of the sandbox.
};

/// Computes the difference to the base inside and downloads it.
void collect_tree(context_ptr ctx, std::string pane_name, std::string base_commit,
                  std::filesystem::path folder, sandbox::done<collected> then);

} // namespace skep::actors
