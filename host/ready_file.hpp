// The file that tells a caller where the host serves. Its directory may be root's while the host
// has given up root: then a small process forked before that keeps the right to write this one
// file, and ends after it. Or the service user's, who may put anything there: nothing of it is
// followed.
#pragma once

#include "host/posix.hpp"

#include <string>
#include <string_view>

namespace skep::host {

class ready_file {
public:
  /// Touches no file. Call before root is given up and before any thread starts. An empty path:
  /// nothing will be written.
  static result<ready_file> prepare(const std::string& path);
  /// Removes a stale file. Only for who has the state directory for itself: before that the file
  /// is another host's, and leads to it. Once, before write(); io.
  result<void> clear();
  /// Writes it (beside, then renamed). Once; blocks for the time of two system calls. io.
  result<void> write(std::string_view text);
  /// Best effort, at the end of the host.
  void remove();

private:
  std::string path_;
  unique_fd helper_; // open: the helper writes
};

} // namespace skep::host
