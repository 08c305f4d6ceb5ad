// Evidence that a new sandbox works: skep-envd inside has answered.
#pragma once

#include "host/async.hpp"
#include "host/state.hpp"

#include <chrono>
#include <string>

namespace skep::host {

/// GET /health over the sandbox's envd.sock. errc::timed_out after `limit`, errc::host_failed when
/// the sandbox ends first, errc::protocol for another answer than 204.
task<result<void>> probe_envd(asio::io_context& io, const state_dir& state, std::string id,
                              std::chrono::milliseconds limit);

} // namespace skep::host
