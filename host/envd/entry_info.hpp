// EntryInfo: what filesystem.Filesystem says of a file, and the extended attributes that carry the
// metadata of uploads (`user.e2b.<key>`).
#pragma once

#include "host/envd/account.hpp"
#include "messages/json.hpp"

#include <string>
#include <sys/stat.h>
#include <utility>
#include <vector>

namespace skep::envd {

using metadata = std::vector<std::pair<std::string, std::string>>;

/// The entry at `path` (absolute; the link itself, not its target). False with errno when there is
/// none.
bool entry_info(account& user, const std::string& path, json& out);
/// Go's text of a file mode, such as `-rw-r--r--`, `drwxr-xr-x`, `Lrwxrwxrwx`.
std::string mode_text(mode_t mode);

metadata read_metadata(const std::string& path);
/// Replaces all metadata of an open file. False with errno; a file system without such attributes
/// is fine as long as there is nothing to write.
bool write_metadata(int fd, const metadata& all);

} // namespace skep::envd
