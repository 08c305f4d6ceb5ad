#include "tools/skep/provider_check.hpp"

#include "sandbox/client.hpp"
#include "sandbox/http_engine.hpp"

#include <future>
#include <memory>

namespace skep::cli {

error check_provider(const std::string& name, const tools::provider_entry& entry,
                     const storage::secret_store& secrets, std::chrono::milliseconds limit) {
  auto key = secrets.get(entry.key_secret);
  if (!key) return key.err();
  sandbox::endpoint where;
  where.name = name;
  where.api_url = entry.api_url;
  where.sandbox_url = entry.sandbox_url;
  if (!entry.domain.empty()) where.domain = entry.domain;
  where.api_key = *key;
  auto answer = std::make_shared<std::promise<error>>();
  auto future = answer->get_future();
  sandbox::client client{std::make_shared<sandbox::http_engine>(), std::move(where)};
  sandbox::list_filter ours;
  ours.metadata = {{"skep.install", "probe"}};
  client.list(std::move(ours), [answer](const result<std::vector<sandbox::listed>>& r) {
    answer->set_value(r.ok() ? error{} : r.err());
  });
  if (future.wait_for(limit) != std::future_status::ready)
    return make_error(errc::timed_out, "provider " + name + " did not answer");
  return future.get();
}

std::string provider_text(const tools::provider_entry& entry) {
  if (entry.create.network == actors::network_check::require) return "answers";
  return "answers; network_check = \"warn\": a sandbox whose network fails the look is kept";
}

} // namespace skep::cli
