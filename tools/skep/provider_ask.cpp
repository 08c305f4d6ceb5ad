#include "tools/skep/provider_ask.hpp"

#include "messages/json.hpp"
#include "sandbox/client.hpp"
#include "sandbox/http_engine.hpp"
#include "storage/files.hpp"

#include <unistd.h>

namespace skep::cli {
namespace {

constexpr std::size_t small_file = 65536;

/// Where the local host of this state serves, from what it wrote itself.
result<sandbox::endpoint> local_endpoint(const storage::state_paths& paths,
                                         const std::string& install) {
  auto folder = ::geteuid() == 0 ? std::filesystem::path{"/var/lib/skep-host"} / install
                                 : paths.host() / "state";
  auto ready = storage::read_file(folder / "ready.json", small_file);
  auto key = storage::read_file(paths.host() / "key", small_file);
  auto said = ready ? json::parse(*ready, nullptr, false) : json{};
  if (!said.is_object() || !key)
    return make_error(errc::host_failed, "no local host runs: the next skepd starts it");
  sandbox::endpoint out;
  out.name = "local";
  out.api_url = out.sandbox_url = said.value("url", std::string{});
  while (key->ends_with('\n'))
    key->pop_back();
  out.api_key = *key;
  return out;
}

result<sandbox::endpoint> endpoint_of(const std::string& name, const tools::config& settings,
                                      const storage::state_paths& paths) {
  auto entry = settings.providers.find(name);
  if (entry == settings.providers.end())
    return tools::no_such_provider(name, settings, tools::default_config_file(paths.root));
  auto key = storage::secret_store{paths}.get(entry->second.key_secret);
  if (!key) return key.err();
  sandbox::endpoint out;
  out.name = name;
  out.api_url = entry->second.api_url;
  out.sandbox_url = entry->second.sandbox_url;
  if (!entry->second.domain.empty()) out.domain = entry->second.domain;
  out.api_key = *key;
  return out;
}

} // namespace

result<provider_ask> provider_ask::of(const std::string& name, const tools::config& settings,
                                      const storage::state_paths& paths, const std::string& install,
                                      std::chrono::milliseconds limit) {
  auto where =
      name == "local" ? local_endpoint(paths, install) : endpoint_of(name, settings, paths);
  if (!where) return where.err();
  provider_ask out;
  out.api_ = std::make_shared<sandbox::client>(std::make_shared<sandbox::http_engine>(),
                                               std::move(*where));
  out.install_ = install;
  out.limit_ = limit;
  return out;
}

std::string provider_ask::about(const std::string& remote_id) {
  auto found =
      wait_for<sandbox::detail>(limit_, [&](auto then) { api_->get(remote_id, std::move(then)); });
  if (found.ok()) return "there";
  return found.err().code == errc::not_found ? "gone" : render(found.err());
}

result<std::vector<sandbox::listed>> provider_ask::ours() {
  sandbox::list_filter filter;
  filter.metadata = {{"skep.install", install_}};
  return wait_for<std::vector<sandbox::listed>>(
      limit_, [&](auto then) { api_->list(filter, std::move(then)); });
}

} // namespace skep::cli
