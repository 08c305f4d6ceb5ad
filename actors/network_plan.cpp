#include "actors/network_plan.hpp"

#include "actors/package_hosts.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

void add(std::vector<std::string>& list, std::string host) {
  if (std::find(list.begin(), list.end(), host) == list.end()) list.push_back(std::move(host));
}

} // namespace

result<sandbox::network_rules>
network_plan(const swarm_spec& spec, const std::vector<gateway_use>& uses,
             const std::function<std::string(const std::string& name)>& secret) {
  sandbox::network_rules out;
  if (spec.network == network_policy::none) return out;
  for (const auto& use : uses) {
    auto key = secret(use.secret);
    if (key.empty()) return make_error(errc::secret_missing, use.secret);
    out.inject[use.domain][use.header] = std::move(key);
    if (!use.paths.empty()) out.paths[use.domain] = use.paths;
    add(out.allow_out, use.domain);
  }
  if (spec.network == network_policy::open) {
    out.internet = true;
    out.allow_out = {std::string{sandbox::everywhere}};
    return out;
  }
  if (spec.network == network_policy::packages)
    for (const auto& x : package_hosts)
      add(out.allow_out, std::string{x.host});
  for (const auto& host : spec.allow_hosts)
    add(out.allow_out, host);
  return out;
}

} // namespace skep::actors
