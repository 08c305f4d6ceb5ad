// Can this machine isolate a sandbox? Tried, not guessed: a bubblewrap with the options of a real
// sandbox runs /usr/bin/true. Small library without HTTP, so that `skep doctor` can ask too.
#pragma once

#include "host/privileges.hpp"
#include "messages/error.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace skep::host {

/// Path of the bubblewrap program, or empty.
std::string find_bwrap();

/// The options that every sandbox and the probe share: namespaces, /usr, /proc, /dev, no network.
std::vector<std::string> isolation_args();

/// Tries a sandbox. When called by root it does so as `service_user`. Blocks up to 10 s.
/// errc::no_isolation: the message names what is missing and the cause holds bubblewrap's own
/// words.
result<void> check_isolation(std::string_view service_user = default_service_user);

/// Why the folder `path` of this machine is not shown in the sandboxes of a host with this state
/// directory; the message begins with `path`. file_not_found, bad_argument.
error bind_refused(const std::string& path, const std::string& state);

} // namespace skep::host
