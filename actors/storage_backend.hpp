// The JOURNAL's backend in production: storage::journal.
#pragma once

#include "actors/journal.hpp"
#include "storage/journal.hpp"

namespace skep::actors {

/// Wraps an open journal. One thread only from then on.
std::unique_ptr<journal_backend> wrap_journal(storage::journal j);

} // namespace skep::actors
