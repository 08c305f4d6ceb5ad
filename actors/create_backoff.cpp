#include "actors/create_backoff.hpp"

#include <algorithm>

namespace skep::actors {

void create_backoff::refused(const std::string& provider, const sandbox_id& box, milliseconds named,
                             milliseconds now) {
  auto [i, is_new] = of_.try_emplace(provider);
  auto& x = i->second;
  if (!is_new && x.asker != box) { // its create was under way before
    x.until = std::max(x.until, now + named);
    return;
  }
  milliseconds longer = is_new ? named.count() > 0 ? named : milliseconds{limits_->quota_wait}
                               : std::min<milliseconds>(x.wait * 2, limits_->quota_wait_most);
  x.wait = std::max(longer, named);
  x.until = now + x.wait;
  x.asker = {};
}

create_backoff::milliseconds create_backoff::left(const std::string& provider,
                                                  milliseconds now) const {
  auto i = of_.find(provider);
  return i == of_.end() ? milliseconds{0} : std::max(i->second.until - now, milliseconds{0});
}

// An answer that never comes holds nobody for ever.
void create_backoff::asks(const std::string& provider, const sandbox_id& box, milliseconds now) {
  auto i = of_.find(provider);
  if (i == of_.end()) return;
  i->second.asker = box;
  i->second.until =
      now + std::max<milliseconds>(i->second.wait, limits_->create_of(provider).deadline);
}

void create_backoff::look(const storage::spend_state& s, milliseconds now) {
  if (of_.empty()) return;
  std::map<std::string, std::set<sandbox_id>> occupied;
  for (const auto& x : s.placed)
    if (!x.unresolved) occupied[x.provider].insert(x.sandbox);
  for (auto i = of_.begin(); i != of_.end();) {
    auto& x = i->second;
    auto& there = occupied[i->first];
    auto granted = there.contains(x.asker);
    auto ended = !std::includes(there.begin(), there.end(), x.occupied.begin(), x.occupied.end());
    // Nobody has asked it for long: what it said then says nothing now.
    auto old = now - x.until >= limits_->quota_wait_most;
    x.occupied = std::move(there);
    i = granted || ended || old ? of_.erase(i) : std::next(i);
  }
}

} // namespace skep::actors
