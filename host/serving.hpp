// What the host's program does with either driver: read the keys, serve until a signal or the idle
// time.
#pragma once

#include "host/driver.hpp"
#include "host/host.hpp"
#include "host/ready_file.hpp"
#include "host/server.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace skep::host {

/// The keys of options.key_file; none with insecure_loopback. bad_argument without either,
/// secret_missing for a file without a key.
result<std::vector<std::string>> read_keys(const host_options& options);

/// Lets the driver find its sandboxes, says `announcement` on standard output and in the ready
/// file, and serves until SIGTERM, SIGINT or `idle_exit` (0: never). `web` listens already.
result<void> serve_until_told(asio::io_context& io, driver& sandboxes, server& web,
                              ready_file& ready, std::chrono::seconds idle_exit,
                              const json& announcement);

} // namespace skep::host
