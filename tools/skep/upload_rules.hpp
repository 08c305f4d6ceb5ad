// Results that change what later runs upload: an agent may have taken its next one's guard away.
#pragma once

#include "transfer/kept.hpp"

#include <string>
#include <vector>

namespace skep::cli {

/// A sentence for each pane that made, changed, deleted or renamed a file by which a later run
/// decides what it uploads and what its scan for credentials lets pass: a WARNING for
/// .skep-scan-allow in the root and .skepignore anywhere, a Note for .gitignore. Safe to show.
std::vector<std::string> remarks_on_upload_rules(const std::vector<transfer::kept_pane>& panes);

} // namespace skep::cli
