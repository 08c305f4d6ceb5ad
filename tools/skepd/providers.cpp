#include "tools/skepd/providers.hpp"

namespace skep::tools {

providers::providers(config settings, std::shared_ptr<local_host> local,
                     std::shared_ptr<storage::secret_store> secrets,
                     std::shared_ptr<sandbox::http_engine> engine)
    : settings_(std::move(settings)), local_(std::move(local)), secrets_(std::move(secrets)),
      engine_(std::move(engine)) {}

bool providers::knows(const std::string& name) const {
  return name == "local" || settings_.providers.count(name) > 0;
}

result<std::shared_ptr<sandbox::api>> providers::connect(const std::string& name) {
  if (name == "local") return local_->connect();
  auto entry = settings_.providers.find(name);
  if (entry == settings_.providers.end()) return make_error(errc::unknown_provider, name);
  std::lock_guard guard{mutex_};
  if (auto i = clients_.find(name); i != clients_.end()) return i->second;
  auto key = secrets_->get(entry->second.key_secret);
  if (!key) return make_error(errc::secret_missing, entry->second.key_secret);
  sandbox::endpoint where;
  where.name = name;
  where.api_url = entry->second.api_url;
  where.sandbox_url = entry->second.sandbox_url;
  if (!entry->second.domain.empty()) where.domain = entry->second.domain;
  where.api_key = *key;
  sandbox::policy limits;
  limits.of(sandbox::operation::create).deadline = entry->second.create.deadline;
  std::shared_ptr<sandbox::api> api =
      std::make_shared<sandbox::client>(engine_, std::move(where), limits);
  clients_[name] = api;
  return api;
}

} // namespace skep::tools
