// skep doctor: does every configured provider answer, and does it take our key?
#pragma once

#include "storage/secrets.hpp"
#include "tools/skepd/config.hpp"

#include <chrono>
#include <string>

namespace skep::cli {

/// Lists the sandboxes of a provider with the key that is set for it; makes nothing. None when it
/// answered; secret_missing, auth, network, timed_out, protocol and the like otherwise.
error check_provider(const std::string& name, const tools::provider_entry& entry,
                     const storage::secret_store& secrets, std::chrono::milliseconds limit);

/// What doctor says of one that answers: also that its sandboxes are kept whatever their network
/// lets through, where skep.toml has that.
std::string provider_text(const tools::provider_entry& entry);

} // namespace skep::cli
