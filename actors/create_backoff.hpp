// When a provider that refused creates for its own quota or rate, or for want of room, is asked
// again. Plain data; times are on the boot-time clock.
//
//   refused -- quota_wait, or what it named -- one create -- refused -- twice as long -- one ...
//                                                  |                    (quota_wait_most)
//   a create that it granted, or a place of ours there that ended: it is asked as ever
//
// Creates that were under way when it first refused change nothing but the time that it names.
#pragma once

#include "actors/policy.hpp"
#include "storage/spend_state.hpp"

#include <chrono>
#include <map>
#include <set>
#include <string>

namespace skep::actors {

class create_backoff {
public:
  using milliseconds = std::chrono::milliseconds;

  /// `limits` outlives it.
  explicit create_backoff(const policies& limits) : limits_(&limits) {}

  /// The create of `box` was refused at `now`; `named`: the wait that the provider named, 0: none.
  void refused(const std::string& provider, const sandbox_id& box, milliseconds named,
               milliseconds now);
  /// How long the provider is not to be asked; 0: it may be.
  milliseconds left(const std::string& provider, milliseconds now) const;
  /// `box` may ask it now: until its answer, nobody else does.
  void asks(const std::string& provider, const sandbox_id& box, milliseconds now);
  /// What the tables show: granted creates and ended places.
  void look(const storage::spend_state& s, milliseconds now);

private:
  struct refusal {
    milliseconds wait{0};
    milliseconds until{0};
    sandbox_id asker;              ///< The one that was let through since the last refusal.
    std::set<sandbox_id> occupied; ///< Places of ours there at the last look.
  };

  const policies* limits_;
  std::map<std::string, refusal> of_; ///< By provider; those that refuse nothing are not in it.
};

} // namespace skep::actors
