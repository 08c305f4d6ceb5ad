#include "storage/successors.hpp"

#include <algorithm>

namespace skep::storage {

std::vector<owed_successor> owed(const std::vector<sandbox_record>& sandboxes,
                                 const std::vector<replacement_record>& known, std::uint32_t most) {
  std::vector<owed_successor> out;
  auto there = [&](const sandbox_id& id) {
    return std::any_of(sandboxes.begin(), sandboxes.end(),
                       [&](const auto& s) { return s.sandbox == id; });
  };
  std::vector<const sandbox_record*> lost;
  for (const auto& s : sandboxes)
    if (s.state == phase::closed && s.result == outcome::lost) lost.push_back(&s);
  std::stable_sort(lost.begin(), lost.end(),
                   [](const auto* a, const auto* b) { return a->closed_at < b->closed_at; });
  auto left = most - std::min<std::size_t>(most, known.size());
  for (const auto* s : lost) {
    auto i = std::find_if(known.begin(), known.end(),
                          [s](const auto& r) { return r.lost == s->sandbox; });
    if (i != known.end()) {
      if (!there(i->successor)) out.push_back({*s, i->successor});
    } else if (left > 0) {
      --left;
      out.push_back({*s, {}});
    }
  }
  return out;
}

} // namespace skep::storage
