// Ports of programs inside a sandbox, reached over the channel to its envd: CONNECT 127.0.0.1:PORT.
// No socket that the host connects to lies where the sandbox could put it.
#pragma once

#include "host/async.hpp"
#include "messages/error.hpp"

#include <chrono>

namespace skep::host {

/// Turns a fresh connection to envd into one to the port. errc::refused when nothing listens there,
/// errc::timed_out, errc::gone.
task<result<local_socket>> open_port(local_socket envd, unsigned port,
                                     std::chrono::milliseconds limit);

} // namespace skep::host
