// What a provider says of the sandboxes of this installation: `skep recover --ask`, and `skep diff`
// of a pane that runs. Looks only.
#pragma once

#include "sandbox/api.hpp"
#include "storage/secrets.hpp"
#include "tools/skepd/config.hpp"

#include <chrono>
#include <future>
#include <memory>

namespace skep::cli {

/// The answer of a call of sandbox::api, or timed_out.
template <class T, class Call>
result<T> wait_for(std::chrono::milliseconds limit, Call call) {
  auto answer = std::make_shared<std::promise<result<T>>>();
  auto future = answer->get_future();
  call([answer](result<T> r) { answer->set_value(std::move(r)); });
  if (future.wait_for(limit) != std::future_status::ready) return make_error(errc::timed_out);
  return future.get();
}

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
  sandbox::api& api() { return *api_; }

private:
  provider_ask() = default;
  std::shared_ptr<sandbox::api> api_;
  std::string install_;
  std::chrono::milliseconds limit_{0};
};

} // namespace skep::cli
