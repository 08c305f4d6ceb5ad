// Folders in memory for tests whose subject is not a disk: git makes and removes files by the ten
// thousand, and a file system that spares freed inodes for seconds (ext4) makes each one wait.
#pragma once

#include <cstdlib>
#include <string>
#include <unistd.h>

namespace skep::test {

/// While it lives, TMPDIR is in memory, where the machine has a place for that; then what it was.
/// The environment is the process's: one thread.
class memory_as_temp {
public:
  memory_as_temp() {
    if (const char* before = std::getenv("TMPDIR")) before_ = before;
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 1);
  }
  memory_as_temp(const memory_as_temp&) = delete;
  memory_as_temp& operator=(const memory_as_temp&) = delete;
  ~memory_as_temp() {
    if (before_.empty())
      ::unsetenv("TMPDIR");
    else
      ::setenv("TMPDIR", before_.c_str(), 1);
  }

private:
  std::string before_;
};

} // namespace skep::test
