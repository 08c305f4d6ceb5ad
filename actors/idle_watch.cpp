#include "actors/idle_watch.hpp"

namespace skep::actors {

idle_watch::word idle_watch::look(const pane_id& id, std::optional<milliseconds> last,
                                  milliseconds now) {
  if (!on()) return word::none;
  auto [i, fresh] = panes_.try_emplace(id, state{now, std::nullopt, false});
  auto& s = i->second;
  if (last && *last > s.since) {
    s.since = *last;
    s.stopped = false;
    auto warned = s.warned_at.has_value() || known_before_.erase(id) > 0;
    s.warned_at.reset();
    if (warned && now - s.since < limit_) return word::active;
  }
  if (now - s.since < limit_) return word::none;
  if (!s.warned_at) {
    s.warned_at = now;
    return known_before_.erase(id) > 0 ? word::none : word::warn;
  }
  if (s.stopped || now - *s.warned_at < grace_) return word::none;
  s.stopped = true;
  return word::stop;
}

idle_watch::milliseconds idle_watch::idle(const pane_id& id, milliseconds now) const {
  auto i = panes_.find(id);
  return i == panes_.end() ? milliseconds{0} : now - i->second.since;
}

} // namespace skep::actors
