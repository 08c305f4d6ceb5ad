// Calls of the C library that tests of this program answer themselves: what a user, a failing disk
// or a kill does between two of them.
#pragma once

#include <functional>

namespace skep::test {

/// While it lives, its functions are asked. One at a time, one thread.
struct disk_calls {
  /// Before the n-th renameat2(2), from 1 on, of this object's life.
  std::function<void(int)> before_rename;
  /// Instead of syncfs(2): its result, with errno.
  std::function<int()> sync;
  int renames = 0;
  disk_calls() { current = this; }
  disk_calls(const disk_calls&) = delete;
  disk_calls& operator=(const disk_calls&) = delete;
  ~disk_calls() { current = nullptr; }
  static inline disk_calls* current = nullptr;
};

} // namespace skep::test
