// Where a host lives: checks its paths, and when started by root gives the state directory to the
// service user, copies the programs that this user must reach into it, and becomes that user.
#pragma once

#include "host/host.hpp"

#include <string>
#include <vector>

namespace skep::host {

struct host_place {
  std::string state_path;     ///< Absolute.
  std::string holder_program; ///< What `hold ID` is run with.
  std::string envd_program;
  std::vector<std::string> binds;             ///< Absolute.
  std::map<std::string, std::string> cgroups; ///< Where groups of sandboxes may be made.
};

/// After success this process is not root. errc::no_isolation, bad_argument, program_missing, io.
result<host_place> settle(const host_options& options);

} // namespace skep::host
