#include "actors/fallback.hpp"

#include "actors/domain.hpp"

namespace skep::actors {

fallback_place::fallback_place(std::shared_ptr<const services> svc, swarm_spec spec)
    : svc_(std::move(svc)), spec_(std::make_shared<const swarm_spec>(std::move(spec))) {}

void fallback_place::reach(std::function<void(client)> then) {
  std::unique_lock lock{mutex_};
  if (auto there = known_) {
    lock.unlock();
    return then(std::move(there));
  }
  waiting_.push_back(std::move(then));
  if (waiting_.size() > 1) return;
  lock.unlock();
  auto& pool = svc_->provider_pool ? *svc_->provider_pool : *svc_->pool;
  pool.submit([self = shared_from_this()] {
    self->answer(answer_of<std::shared_ptr<sandbox::api>>(
        [&] { return self->svc_->provider(self->provider()); }));
  });
}

void fallback_place::answer(const client& r) {
  std::unique_lock lock{mutex_};
  if (r) known_ = *r;
  auto all = std::exchange(waiting_, {});
  lock.unlock();
  for (auto& then : all)
    then(r);
}

} // namespace skep::actors
