// How far an upload is, for people.
#pragma once

#include "messages/events.hpp"

#include <string>

namespace skep::cli {

/// "upload: part 3 of 12, 150.0 MiB of 600.0 MiB, 40.0 MiB/s, 11 s left". Of an upload in one part
/// that part is not named; rate and time left are those of this attempt, once it has sent anything.
std::string upload_text(const transfer_progress& x);

} // namespace skep::cli
