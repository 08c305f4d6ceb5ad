#include "actors/sandbox_birth.hpp"

#include "actors/agents/adapter.hpp"

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
  out.lease = ctx.svc->limits.create_lease;
  out.metadata = sandbox_labels(ctx, intent);
  pane_context any;
  any.gateway_url = ctx.svc->gateway_url(ctx.spec->provider);
  for (const auto& use : make_adapter(ctx.spec->agent)->plan(*ctx.spec, any).gateway) {
    auto key = ctx.svc->secret(use.secret);
    if (key.empty()) return make_error(errc::secret_missing, use.secret);
    out.network.inject[use.domain][use.header] = key;
  }
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

void find_by_intent(context_ptr ctx, std::string intent, sandbox::done<sandbox::created> then) {
  sandbox::list_filter filter;
  filter.metadata = {{"skep.install", ctx->svc->install_id}, {"skep.intent", std::move(intent)}};
  ctx->api->list(std::move(filter), [ctx, then](result<std::vector<sandbox::listed>> r) {
    if (!r) return then(r.err());
    if (r->empty())
      return then(make_error(errc::not_found, "no sandbox carries the label of this create"));
    ctx->api->get(r->front().remote_id, [then](result<sandbox::detail> d) {
      if (!d) return then(d.err());
      then(sandbox::created{d->address, d->envd_version});
    });
  });
}

} // namespace skep::actors
