// Inner header: how facts change what was spent. What costs, from when to when, stands in
// messages/cost.hpp; storage/README.md has the table.
#pragma once

#include "storage/fold.hpp"

namespace skep::storage::fold {

/// The time of the sandbox costs from `c.at` on, unless it does already.
result<void> charge_begins(const context& c, const create_intended& e);
/// Nothing came of the create: it cost nothing. One that the provider refused for its own quota or
/// rate is in no window of creations either.
result<void> charge_dropped(const context& c, const create_failed& e);
/// The sandbox is gone at `c.at`: its time is added to its swarm and to the days that it ran in.
result<void> charge_ends(const context& c);
/// Its agents said that `usd` more were spent at models; counts unless a gateway counts.
result<void> agents_spent(const context& c, double usd);

} // namespace skep::storage::fold
