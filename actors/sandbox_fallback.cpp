// How a sandbox whose create is refused is made at the run's fallback instead of waiting.
//
//   refused -- sandbox.fell_back on disk -- the fallback's client -- its place there -- its create
//
// It is nowhere as long as that goes on. Who dies in between finds the row at the fallback, and
// goes on from there. A sandbox falls back once: at the fallback it waits like any other.
#include "actors/sandbox_actor.hpp"

namespace skep::actors {

bool sandbox_impl::fall_back(const error& why) {
  if (!ctx_->fallback || !lacks_room(why)) return false;
  const auto& to = ctx_->fallback->provider();
  const auto usd = ctx_->svc->rules ? ctx_->svc->rules->of(to).usd_per_hour : 0.0;
  fact(sandbox_fell_back{to, usd, ctx_->spec->provider, why}, [this, to, usd] {
    rec_.provider = to;
    rec_.usd_per_hour = usd;
    create();
  });
  return true;
}

// A fallback that cannot be had for a moment is waited for, until the run's end.
void sandbox_impl::at_its_provider(std::function<void()> next) {
  const auto& there = ctx_->fallback;
  if (!there || rec_.provider != there->provider()) return next();
  waiting_ = true;
  there->reach(home<std::shared_ptr<sandbox::api>>(
      [this, next](result<std::shared_ptr<sandbox::api>> client) {
        if (!waiting_) return; // its end came
        if (client) {
          waiting_ = false;
          ctx_->fall_back(std::move(*client));
          if (!ending()) next();
          return;
        }
        if (!retriable(client.err()) && !mendable(client.err())) {
          waiting_ = false;
          return fail(at_step(client.err(), "create"));
        }
        tell_out_of_reach(client.err());
        later(limits().settle_interval, [this, next] {
          if (waiting_) at_its_provider(next);
        });
      }));
}

void sandbox_impl::tell_out_of_reach(const error& why) {
  if (std::exchange(told_of_fallback_, true)) return;
  note(ctx_->recorder(), now(),
       notice{severity::warning, "provider_unreachable",
              ctx_->sandbox.value + ": its fallback " + rec_.provider
                  + " cannot be asked, which is tried again until the run's time limit: "
                  + render(why)});
}

} // namespace skep::actors
