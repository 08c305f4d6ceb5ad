// Which requests of the control protocol change something, and what the journal says of who asked.
#pragma once

#include "messages/commands.hpp"

#include <optional>

namespace skep::actors {

/// The fact for a request of this peer; none for questions, and for what an attachment does after
/// it was opened.
std::optional<command_asked> asked(const request_frame& f, std::int64_t uid, std::int64_t pid);

} // namespace skep::actors
