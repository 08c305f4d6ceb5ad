// skep recover --ask: what a provider says of the sandboxes of this installation. Looks only.
#pragma once

#include "sandbox/api.hpp"
#include "storage/secrets.hpp"
#include "tools/skepd/config.hpp"

#include <chrono>
#include <memory>

namespace skep::cli {

class provider_ask {
public:
  /// Of a configured provider, or of the local host that runs already; starts none.
  /// unknown_provider, secret_missing, host_failed when no local host runs.
  static result<provider_ask> of(const std::string& name, const tools::config& settings,
                                 const storage::state_paths& paths, const std::string& install,
                                 std::chrono::milliseconds limit);
  /// "there", "gone", or why that is not known.
  std::string about(const std::string& remote_id);
  /// All that bear the label of this installation.
  result<std::vector<sandbox::listed>> ours();

private:
  provider_ask() = default;
  std::shared_ptr<sandbox::api> api_;
  std::string install_;
  std::chrono::milliseconds limit_{0};
};

} // namespace skep::cli
