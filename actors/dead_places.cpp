#include "actors/dead_places.hpp"

namespace skep::actors {

bool dead_places::on_its_way(const storage::placed_sandbox& x) const {
  return is_over(x) || x.kill_intended || told_.contains(x.sandbox);
}

bool dead_places::claim(const hold& h, const std::string& provider, const std::string& repo) {
  const storage::placed_sandbox* oldest = nullptr;
  const storage::placed_sandbox* lapsed = nullptr;
  auto order = [&](const storage::placed_sandbox& x) { return ailing_.at(x.sandbox).order; };
  for (const auto* x : holders_of(h, state_, provider, repo)) {
    if (claimed_.contains(x->sandbox)) continue;
    if (on_its_way(*x)) {
      claimed_.insert(x->sandbox);
      reaper_is_needed_ = reaper_is_needed_ || is_over(*x);
      return true;
    }
    if (x->lease_over && !lapsed) lapsed = x;
    // What is being collected ends by itself.
    if (x->state >= phase::collecting || !ailing_.contains(x->sandbox)) continue;
    if (!oldest || order(*x) < order(*oldest)) oldest = x;
  }
  if (lapsed) {
    // "Told" from now on: one that somebody gave more time wakes the REAPER no more often.
    claimed_.insert(lapsed->sandbox);
    to_end_.push_back(lapsed->sandbox);
    reaper_is_needed_ = true;
    return true;
  }
  if (!oldest) return false;
  claimed_.insert(oldest->sandbox);
  to_end_.push_back(oldest->sandbox);
  return true;
}

void dead_places::end(const sandbox_id& id) const {
  if (auto i = ailing_.find(id); i != ailing_.end()) i->second.give_up();
}

} // namespace skep::actors
