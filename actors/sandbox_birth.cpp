#include "actors/sandbox_birth.hpp"

#include "actors/isolation_check.hpp"
#include "actors/network_plan.hpp"

namespace skep::actors {

std::map<std::string, std::string> sandbox_labels(const sandbox_context& ctx,
                                                  const std::string& intent) {
  return {{"skep.install", ctx.svc->install_id},
          {"skep.swarm", ctx.swarm.value},
          {"skep.sandbox", ctx.sandbox.value},
          {"skep.intent", intent}};
}

result<sandbox::create_params> create_request(const sandbox_context& ctx,
                                              const std::string& intent) {
  sandbox::create_params out;
  out.template_name = ctx.spec->template_name;
  out.lease = ctx.svc->limits.create_of(ctx.spec->provider).first_lease;
  out.metadata = sandbox_labels(ctx, intent);
  out.env[std::string{mark_variable}] = intent;
  pane_context any;
  any.gateway_url = ctx.svc->gateway_url(ctx.spec->provider);
  auto plan = make_adapter(ctx.spec->agent)->plan(*ctx.spec, any);
  auto network = network_plan(*ctx.spec, plan.gateway, ctx.svc->secret);
  if (!network) return network.err();
  out.network = std::move(*network);
  return out;
}

bool create_is_settled(const error& e) {
  switch (e.code) {
  case errc::timed_out:
  case errc::network:
  case errc::protocol:
  case errc::cancelled:
  case errc::shutting_down:
    return false;
  default:
    return true;
  }
}

bool lacks_room(const error& e) {
  return e.code == errc::quota || e.code == errc::rate || e.code == errc::capacity;
}

void find_by_intent(const std::shared_ptr<sandbox::api>& api, const std::string& install,
                    const std::string& intent, sandbox::done<sandbox::created> then) {
  sandbox::list_filter filter;
  filter.metadata = {{"skep.install", install}, {"skep.intent", intent}};
  api->list(std::move(filter), [api, then](result<std::vector<sandbox::listed>> r) {
    if (!r && r.err().code == errc::not_found) // no list is not an empty list
      return then(make_error(errc::protocol, "the provider has no list", render(r.err())));
    if (!r) return then(r.err());
    if (r->empty())
      return then(make_error(errc::not_found, "no sandbox carries the label of this create"));
    api->get(r->front().remote_id, [then](result<sandbox::detail> d) {
      if (!d && d.err().code == errc::not_found)
        return then(make_error(errc::gone, "it was listed and is gone"));
      if (!d) return then(d.err());
      then(sandbox::created{d->address, d->envd_version});
    });
  });
}

create_search::verdict create_search::missed(utc_time asked_at) {
  failures_ = 0;
  ++misses_;
  return misses_ >= limits_->settle_looks && asked_at >= due_ ? verdict::settled : verdict::go_on;
}

create_search::verdict create_search::failed(utc_time asked_at) {
  if (asked_at < due_) return verdict::go_on;
  return ++failures_ >= limits_->settle_failures ? verdict::blind : verdict::go_on;
}

std::chrono::milliseconds create_search::wait(utc_time now) {
  using std::chrono::milliseconds;
  auto next = std::min<milliseconds>(limits_->settle_interval_most,
                                     limits_->settle_interval * (1 << std::min(looks_++, 10u)));
  // Full lists are what is missing once the time is over: no reason to be slow about them.
  if (now >= due_ && failures_ == 0) return limits_->settle_interval;
  if (now < due_) next = std::min(next, std::chrono::ceil<milliseconds>(due_ - now));
  return next;
}

} // namespace skep::actors
