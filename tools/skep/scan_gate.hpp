// Before a run is asked for: is there a credential in the work tree, and may it go on.
#pragma once

#include "messages/commands.hpp"
#include "storage/state_dir.hpp"
#include "tools/skep/app.hpp"
#include "transfer/inventory.hpp"

namespace skep::cli {

/// A table of the findings of at least this severity; where some are not shown, how many, and
/// `all`, which says where they are. Empty for none.
std::string findings_text(const scan_report& r, finding_severity least,
                          std::string_view all = "skep files list --json has all of them");

/// Scans what of `spec.repo` would travel.
scan_report scan_upload(const swarm_spec& spec, const transfer::inventory& files,
                        std::chrono::milliseconds limit);

/// A warning where .skep-scan-allow of `spec.repo` allows everything and something was found:
/// then there is no scan. Else empty.
std::string remark_on_allowed(const swarm_spec& spec, const scan_report& r);

/// Tells what was found, asks where the policy is `prompt`, and leaves word for the audit log of a
/// refusal and of an assent. After an assent `spec.scan` is `warn`. None: the run may go on.
error pass_gate(const app& a, const storage::state_paths& paths, swarm_spec& spec,
                const scan_report& r);

/// What is worth knowing about the upload: submodules, pointers, a huge size. Sentences.
std::vector<std::string> remarks_on_upload(const swarm_spec& spec,
                                           const transfer::inventory& files);

} // namespace skep::cli
