// The file that tells a caller where the host serves. Its directory may be root's while the host
// has given up root: then a small process forked before that keeps the right to write this one
// file, and ends after it.
#pragma once

#include "host/posix.hpp"

#include <string>
#include <string_view>

namespace skep::host {

class ready_file {
public:
  /// Removes a stale file. Call before root is given up and before any thread starts. An empty
  /// path: nothing will be written.
  static result<ready_file> prepare(const std::string& path);
  /// Writes it (beside, then renamed). Blocks for the time of two system calls.
  result<void> write(std::string_view text);
  /// Best effort, at the end of the host.
  void remove();

private:
  std::string path_;
  unique_fd helper_; // open: the helper writes
};

} // namespace skep::host
