#include "actors/told_collisions.hpp"

namespace skep::actors {

told_collisions::news told_collisions::of(const std::vector<collision>& met) {
  news out;
  for (const auto& x : met) {
    auto what = std::pair{x.panes.size(), x.level};
    auto i = told_.find(x.path);
    if (i != told_.end() && i->second == what) continue;
    if (i == told_.end() && told_.size() >= most_told_paths) {
      out.left_out = out.left_out || !std::exchange(left_out_, true);
      continue;
    }
    told_[x.path] = what;
    out.tell.push_back(x);
  }
  return out;
}

} // namespace skep::actors
