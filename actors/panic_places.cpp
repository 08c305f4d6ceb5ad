#include "actors/panic_places.hpp"

#include <algorithm>

namespace skep::actors {
namespace {

// Who was sent a create, and has not answered, may have the sandbox at any moment.
bool creates(const services& svc, const swarm_id& id, const std::string& provider) {
  auto rows = svc.load_sandboxes(id);
  return !rows || std::any_of(rows->begin(), rows->end(), [&](const auto& x) {
    return x.unresolved && x.provider == provider;
  });
}

} // namespace

result<std::set<std::string>> panic_places(const services& svc, const selection& s,
                                           const std::vector<sandbox_record>& living,
                                           const std::multimap<swarm_id, std::string>& open) {
  std::set<std::string> surely, maybe;
  for (const auto& x : living)
    if (svc.knows_provider(x.provider) || svc.wall_now() < x.lease_end_at)
      surely.insert(x.provider);
  for (const auto& [id, provider] : open)
    (!may_hold(svc, provider) && creates(svc, id, provider) ? surely : maybe).insert(provider);
  if (s.all) {
    if (svc.providers_in_use)
      for (auto& name : svc.providers_in_use())
        maybe.insert(std::move(name));
  } else if (!s.provider.empty()) {
    if (!svc.knows_provider(s.provider) && surely.empty() && maybe.empty())
      return make_error(errc::unknown_provider,
                        s.provider + ", and no sandbox of ours lives there");
    maybe.insert(s.provider);
  } else if (!s.sandbox.empty() && living.empty()) {
    auto row = svc.load_sandbox(s.sandbox);
    if (!row) return row.err();
    (row->unresolved ? surely : maybe).insert(row->provider);
  } else if (!s.swarm.empty() && living.empty() && open.empty()) {
    auto row = svc.load_swarm(s.swarm);
    if (!row) return row.err();
    maybe.insert(row->provider);
  }
  std::erase_if(
      maybe, [&](const auto& name) { return !svc.knows_provider(name) || !may_hold(svc, name); });
  surely.merge(maybe);
  return surely;
}

} // namespace skep::actors
