// What the next skepd would find in the state directory, looked at without making or changing
// anything of it, for `skep doctor` and a dry run. Also while one runs: nothing here takes a lock.
#pragma once

#include "storage/migrator.hpp"
#include "storage/state_dir.hpp"

#include <optional>

namespace skep::cli {

/// The schema of a database that the next start would not refuse; nothing where there is none yet.
/// Reads the pages that the start reads: all of a small one, the ends of a large one
/// (storage/damage.hpp). Errors: corrupt_database, schema_mismatch, io, sql.
result<std::optional<storage::schema_status>> look_at_database(const storage::state_paths& paths);

/// Why no skepd would start on this directory: it cannot be made or used, is a copy, or its
/// database is refused. None: nothing of this kind is in its way.
error start_refused(const storage::state_paths& paths);

} // namespace skep::cli
