// Which successors a run owes for sandboxes that their provider lost (`--replace-lost`), from rows
// alone. The SWARM starts them (actors/replacement.hpp), `skep recover --plan` shows them.
#pragma once

#include "messages/records.hpp"

#include <vector>

namespace skep::storage {

/// A lost sandbox that is owed a successor, or has one that never began.
struct owed_successor {
  sandbox_record lost;
  sandbox_id successor; ///< Empty: none was named yet.
};

/// In the order in which they were lost. `most`: of all replacements of the run; those of
/// `known` count.
std::vector<owed_successor> owed(const std::vector<sandbox_record>& sandboxes,
                                 const std::vector<replacement_record>& known, std::uint32_t most);

} // namespace skep::storage
