// How long a sandbox may live at its provider: the lease it asks for, what the provider made of
// that, and the end that comes before the lease's.
#include "actors/lease_plan.hpp"
#include "actors/sandbox_actor.hpp"

namespace skep::actors {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

utc_time in_ms(std::chrono::system_clock::time_point at) {
  return std::chrono::time_point_cast<milliseconds>(at);
}

// The life that the provider's own account gives, where that is less than was asked for.
std::optional<milliseconds> less_than(seconds asked, const sandbox::detail& seen,
                                      const create_policy& how) {
  return capped_life(in_ms(seen.started_at), in_ms(seen.end_at), how.first_lease, asked);
}

std::string in_s(milliseconds t) {
  return std::to_string(std::chrono::floor<seconds>(t).count()) + " s";
}

} // namespace

// Its life began no sooner than its record, so that the cap is met whatever the provider counts
// from.
void sandbox_impl::extend_lease() {
  auto born = rec_.created_at.time_since_epoch().count() > 0 ? rec_.created_at : now();
  auto lease = lease_to_ask(milliseconds{ctx_->spec->limit_ms}, limits().lease_grace,
                            limits().create_of(ctx_->spec->provider).lease_cap, born, {}, now());
  if (!lease) return upload();
  fact(lease_intended{now() + *lease}, [this, lease = *lease] {
    rec_.lease_end_at = now() + lease;
    ctx_->api->set_timeout(rec_.remote_id, lease, then_or_fail<void>([this, lease] {
                             look_at_lease(lease);
                             upload();
                           }));
  });
}

// Providers may say yes and give less. One look beside the upload, and only where nobody has set
// the cap; of a sandbox that a former daemon made, its taking up is the look. Without an answer the
// lease is believed.
void sandbox_impl::look_at_lease(seconds asked) {
  if (!asked_at_ || limits().create_of(ctx_->spec->provider).lease_cap.count() > 0) return;
  ctx_->api->get(rec_.remote_id, home<sandbox::detail>([this, asked](result<sandbox::detail> r) {
                   if (r.ok() && !destroying_ && rec_.state < phase::closed) lease_seen(asked, *r);
                 }));
}

void sandbox_impl::lease_seen(seconds asked, const sandbox::detail& seen) {
  const auto& provider = ctx_->spec->provider;
  auto life = less_than(asked, seen, limits().create_of(provider));
  if (!life) return;
  if (!limit_within(milliseconds{ctx_->spec->limit_ms}, limits().lease_grace,
                    std::chrono::floor<seconds>(*life))) {
    auto text = "a life of " + in_s(*life) + " at " + provider
                + " leaves no time beside the lease's grace of " + in_s(limits().lease_grace);
    return fail(at_step(make_error(errc::out_of_range, text), "lease"));
  }
  // It began no sooner than its create was sent, so that the lease is over no sooner.
  bound_life(now() + (*asked_at_ + *life - ctx_->svc->boot_now()));
  tell_cap(*life);
}

// Nobody knows how long this daemon was away. Work goes on beside it, and a renewal that fails ends
// nothing, nor does its 404 (see maybe_lost()): the lease that it had outlives the time limit, and
// the table says that one again. It never becomes shorter. Before the agents, the phases set a
// lease of their own.
void sandbox_impl::renew_lease(const sandbox::detail& seen, const turnstile::shared_pass& pass) {
  if (rec_.state < phase::starting) return;
  const auto& how = limits().create_of(ctx_->spec->provider);
  milliseconds limit{ctx_->spec->limit_ms};
  if (how.lease_cap.count() == 0)
    if (auto life =
            less_than(std::chrono::ceil<seconds>(limit) + limits().lease_grace, seen, how)) {
      // More is not to be had. The table has it when a former daemon told it; a minute is for
      // clocks that differ.
      auto known = rec_.lease_end_at <= in_ms(seen.end_at) + std::chrono::minutes{1};
      bound_life(in_ms(seen.end_at));
      if (!known) tell_cap(*life);
      if (lease_stop_due() && !former_stop_) {
        former_stop_ = stop_mode::timed_out;
        lease_ends_ = true;
      }
      return;
    }
  auto lease = lease_to_ask(limit, limits().lease_grace, how.lease_cap, in_ms(seen.started_at),
                            in_ms(seen.end_at), now());
  if (!lease) return;
  fact(lease_intended{now() + *lease}, [this, lease = *lease, pass] {
    ctx_->api->set_timeout(
        rec_.remote_id, lease, home<void>([this, end = now() + lease, pass](result<void> r) {
          if (r.ok()) rec_.lease_end_at = end;
          if (r.ok() || destroying_) return;
          note(ctx_->recorder(), now(), lease_intended{rec_.lease_end_at});
          note(ctx_->recorder(), now(),
               notice{severity::warning, "lease_not_renewed",
                      ctx_->sandbox.value
                          + ": the provider did not renew its lease: " + render(r.err())});
        }));
  });
}

// Its own time limit becomes what fits below the lease, as that of a run does where the cap is set.
void sandbox_impl::bound_life(utc_time end) {
  stop_at_ = ctx_->svc->boot_now() + (end - now()) - limits().lease_grace;
  if (rec_.lease_end_at != end) note(ctx_->recorder(), now(), lease_intended{end});
  rec_.lease_end_at = end;
}

void sandbox_impl::tell_cap(milliseconds life) {
  const auto& provider = ctx_->spec->provider;
  note(ctx_->recorder(), now(),
       notice{severity::warning, "lease_capped",
              ctx_->sandbox.value + ": " + provider + " gives it a life of " + in_s(life)
                  + ", less than was asked for; it is stopped " + in_s(limits().lease_grace)
                  + " before that is over, so that its results can be collected. With providers."
                  + provider + ".lease_cap_s in skep.toml runs fit from the start"});
}

bool sandbox_impl::lease_over() const {
  return rec_.lease_end_at.time_since_epoch().count() > 0 && now() >= rec_.lease_end_at;
}

bool sandbox_impl::lease_stop_due() const {
  return stop_at_ && ctx_->svc->boot_now() >= *stop_at_;
}

// As its SWARM does at the time limit of the run. Agents that have ended leave nothing to stop:
// then only the collecting has an end.
void sandbox_impl::watch_lease() {
  if (!lease_stop_due()) return;
  stop_at_.reset(); // said once
  lease_ends_ = !stop_;
  rec_.state >= phase::collecting ? bound_end() : on_stop(stop_mode::timed_out);
}

} // namespace skep::actors
