// The last words of a daemon whose journal could not be written: STATE/failure, a line of text. It
// ends at once then, and there is no journal to say so in; the next one finds the words, records
// them as the notice `journal_failed`, and removes the file.
#pragma once

#include "storage/state_dir.hpp"

#include <string>

namespace skep::storage {

/// Writes the words, as far as the disk lets it: nobody is left to hear of another failure.
void leave_last_failure(const state_paths& paths, const std::string& text);
/// The words of the last daemon, or empty.
std::string read_last_failure(const state_paths& paths);
/// Forgets them, once they are in the journal.
void clear_last_failure(const state_paths& paths);

} // namespace skep::storage
