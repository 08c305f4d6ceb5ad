// The fold of facts into the state tables (README.md has it as a table). The journal applies every
// fact in the transaction that stores it; nothing else changes these tables.
#pragma once

#include "messages/event_io.hpp"
#include "storage/connection.hpp"

namespace skep::storage {

/// Applies one event of the chunk `where` (its ids count, its body does not). Notes and unknown
/// types change nothing. On an error part of the change may be made: the caller rolls back. Errors
/// as journal::append.
result<void> apply(connection& db, const chunk& where, std::uint64_t seq, const raw_event& e);

/// compacted when the journal no longer begins at 1: the state cannot be made from it then.
result<void> can_rebuild(connection& db);
/// Makes all state tables anew from the journal, inside the caller's transaction. compacted when
/// the journal no longer begins at 1.
result<void> rebuild_state(connection& db);

} // namespace skep::storage
