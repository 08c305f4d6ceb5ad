// How a sandbox whose create is refused is made at the run's fallback instead of waiting.
//
//   refused -- sandbox.fell_back on disk -- the fallback's client -- its place there -- its create
//
// It is nowhere as long as that goes on. Who dies in between finds the row at the fallback, and
// goes on from there. A sandbox falls back once: at the fallback it waits like any other.
#include "actors/sandbox_actor.hpp"

namespace skep::actors {

bool sandbox_impl::fall_back(const error& why) {
  if (!ctx_->fallback_spec || !lacks_room(why)) return false;
  const auto& to = ctx_->fallback_spec->provider;
  const auto usd = ctx_->svc->rules ? ctx_->svc->rules->of(to).usd_per_hour : 0.0;
  fact(sandbox_fell_back{to, usd, ctx_->spec->provider, why}, [this, to, usd] {
    rec_.provider = to;
    rec_.usd_per_hour = usd;
    create();
  });
  return true;
}

void sandbox_impl::at_its_provider(std::function<void()> next) {
  const auto& spare = ctx_->fallback_spec;
  if (!spare || rec_.provider != spare->provider) return next();
  waiting_ = true;
  at_provider(ctx_->svc, rec_.provider, [this, next](result<std::shared_ptr<sandbox::api>> there) {
    if (!std::exchange(waiting_, false)) return; // its end came
    if (!there) return fail(at_step(there.err(), "create"));
    ctx_->fall_back(std::move(*there));
    if (!ending()) next();
  });
}

} // namespace skep::actors
