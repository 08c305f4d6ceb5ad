// One short request of the holder to envd in its sandbox.
#pragma once

#include "host/async.hpp"
#include "host/state.hpp"

#include <chrono>
#include <string>

namespace skep::host {

/// The body of a 2xx answer to METHOD PATH. errc::timed_out, errc::gone, errc::protocol for another
/// status or an answer of more than 64 KiB. What it says is a claim of the sandbox.
task<result<std::string>> envd_call(asio::io_context& io, const state_dir& state, std::string id,
                                    std::string token, const char* method, const char* path,
                                    std::chrono::milliseconds limit);

} // namespace skep::host
