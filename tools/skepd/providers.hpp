// The configured providers and their clients.
#pragma once

#include "sandbox/client.hpp"
#include "tools/skepd/config.hpp"
#include "tools/skepd/secret_guard.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace skep::tools {

class providers {
public:
  /// Gives the client of the local host.
  using local_connect = std::function<result<std::shared_ptr<sandbox::api>>()>;

  providers(config settings, local_connect local, std::shared_ptr<secret_guard> secrets,
            std::shared_ptr<sandbox::http_engine> engine);
  bool knows(const std::string& name) const;
  /// Configured ones whose key is set; without "local".
  std::vector<std::string> with_key() const;
  /// Name of the secret that holds the provider's key; empty where none is needed.
  std::string key_secret(const std::string& name) const;
  /// The provider's one client. A key that is replaced counts from its next request on; one that is
  /// removed is used on, since what runs there must still be ended. unknown_provider,
  /// secret_missing when there was no key yet, or what the local host says. May block; any thread.
  result<std::shared_ptr<sandbox::api>> connect(const std::string& name);

private:
  config settings_;
  local_connect local_;
  std::shared_ptr<secret_guard> secrets_;
  std::shared_ptr<sandbox::http_engine> engine_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<sandbox::api>> clients_;
};

} // namespace skep::tools
