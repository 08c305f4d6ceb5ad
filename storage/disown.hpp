// Giving up what is open in a journal without touching any provider: for a copy of a state
// directory that begins a life of its own.
#pragma once

#include "storage/journal.hpp"

namespace skep::storage {

struct disowned {
  std::size_t swarms = 0;
  std::size_t sandboxes = 0;
};

/// Closes every open pane, sandbox and swarm in the journal of `database` as lost, with
/// copied_state as the reason. No kill is intended: whoever made those sandboxes still owns them.
/// Kept sandboxes are no longer kept. The caller holds the state directory's lock. Nothing happens
/// to a database that is not there.
result<disowned> disown_open_runs(const std::filesystem::path& database, utc_time now);

} // namespace skep::storage
