// Where those sandboxes of a run go that its provider refuses.
#pragma once

#include "actors/interfaces.hpp"
#include "sandbox/api.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace skep::actors {

struct services;

/// The fallback of one run, for all of its sandboxes. Any thread.
class fallback_place : public std::enable_shared_from_this<fallback_place> {
public:
  using client = result<std::shared_ptr<sandbox::api>>;

  /// `spec` as at_fallback() makes it.
  fallback_place(std::shared_ptr<const services> svc, swarm_spec spec);

  /// The run as it is there: one copy for all.
  const std::shared_ptr<const swarm_spec>& spec() const { return spec_; }
  const std::string& provider() const { return spec_->provider; }
  /// Asks for its client, once for all that want it meanwhile; one that was had is kept. `then` is
  /// called once, at once or in the pool for calls of providers.
  void reach(std::function<void(client)> then);

private:
  void answer(const client& r);

  std::shared_ptr<const services> svc_;
  std::shared_ptr<const swarm_spec> spec_;
  std::mutex mutex_;
  std::shared_ptr<sandbox::api> known_;
  std::vector<std::function<void(client)>> waiting_;
};
using fallback_ptr = std::shared_ptr<fallback_place>;

} // namespace skep::actors
