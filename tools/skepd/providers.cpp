#include "tools/skepd/providers.hpp"

namespace skep::tools {
namespace {

/// The secret as it is at each request; `last` where it cannot be read.
sandbox::key_source key_now(std::shared_ptr<secret_guard> secrets, std::string name,
                            std::string last) {
  return sandbox::key_source{[secrets = std::move(secrets), name = std::move(name),
                              last = std::make_shared<std::string>(std::move(last)),
                              mutex = std::make_shared<std::mutex>()] {
    auto now = secrets->value(name);
    std::lock_guard guard{*mutex};
    if (!now.empty()) *last = std::move(now);
    return *last;
  }};
}

} // namespace

providers::providers(config settings, local_connect local, std::shared_ptr<secret_guard> secrets,
                     std::shared_ptr<sandbox::http_engine> engine)
    : settings_(std::move(settings)), local_(std::move(local)), secrets_(std::move(secrets)),
      engine_(std::move(engine)) {}

bool providers::knows(const std::string& name) const {
  return name == "local" || settings_.providers.count(name) > 0;
}

std::vector<std::string> providers::with_key() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : settings_.providers)
    if (!secrets_->value(entry.key_secret).empty()) out.push_back(name);
  return out;
}

std::string providers::key_secret(const std::string& name) const {
  auto entry = settings_.providers.find(name);
  return entry == settings_.providers.end() ? std::string{} : entry->second.key_secret;
}

result<std::shared_ptr<sandbox::api>> providers::connect(const std::string& name) {
  if (name == "local") return local_();
  auto entry = settings_.providers.find(name);
  if (entry == settings_.providers.end()) return make_error(errc::unknown_provider, name);
  std::lock_guard guard{mutex_};
  if (auto i = clients_.find(name); i != clients_.end()) return i->second;
  auto key = secrets_->value(entry->second.key_secret);
  if (key.empty()) return make_error(errc::secret_missing, entry->second.key_secret);
  sandbox::endpoint where;
  where.name = name;
  where.api_url = entry->second.api_url;
  where.sandbox_url = entry->second.sandbox_url;
  if (!entry->second.domain.empty()) where.domain = entry->second.domain;
  where.api_key = key_now(secrets_, entry->second.key_secret, std::move(key));
  sandbox::policy limits;
  limits.of(sandbox::operation::create).deadline = entry->second.create.deadline;
  std::shared_ptr<sandbox::api> api =
      std::make_shared<sandbox::client>(engine_, std::move(where), limits);
  clients_[name] = api;
  return api;
}

} // namespace skep::tools
