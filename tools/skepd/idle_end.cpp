#include "tools/skepd/idle_end.hpp"

#include <algorithm>

namespace skep::tools {

bool holds_daemon(const storage::spend_state& s, utc_time now) {
  return std::any_of(s.placed.begin(), s.placed.end(), [now](const storage::placed_sandbox& x) {
    return now < std::max(x.lease_end, x.charged_from) + longest_unseen;
  });
}

bool idle_end::is_due(clock::time_point now, bool runs, std::uint64_t asked) {
  if (runs || asked != asked_) {
    asked_ = asked;
    idle_since_ = now;
    return false;
  }
  if (idle_.count() == 0 || now - idle_since_ < idle_ || now < next_look_) return false;
  if (!held_()) return true;
  next_look_ = now + held_look_interval;
  return false;
}

} // namespace skep::tools
