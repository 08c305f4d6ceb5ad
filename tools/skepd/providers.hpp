// The configured providers and their clients.
#pragma once

#include "storage/secrets.hpp"
#include "tools/skepd/local_host.hpp"

namespace skep::tools {

class providers {
public:
  providers(config settings, std::shared_ptr<local_host> local,
            std::shared_ptr<storage::secret_store> secrets,
            std::shared_ptr<sandbox::http_engine> engine);
  bool knows(const std::string& name) const;
  /// unknown_provider, secret_missing, or what the local host says. May block; any thread.
  result<std::shared_ptr<sandbox::api>> connect(const std::string& name);

private:
  config settings_;
  std::shared_ptr<local_host> local_;
  std::shared_ptr<storage::secret_store> secrets_;
  std::shared_ptr<sandbox::http_engine> engine_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<sandbox::api>> clients_;
};

} // namespace skep::tools
