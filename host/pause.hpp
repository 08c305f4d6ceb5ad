// Stopping and continuing all processes of a sandbox, memory kept.
//
// Stopping goes from the lowest pid up, continuing from the highest down: a parent is stopped
// before its children and runs again after them, so that a shell or tmux inside does not see (and
// undo) that its child was stopped. What was stopped already stays so after the pause.
#pragma once

#include "host/async.hpp"
#include "messages/error.hpp"

#include <chrono>
#include <cstdint>
#include <set>
#include <sys/types.h>

namespace skep::host {

class sandbox_pause {
public:
  explicit sandbox_pause(asio::io_context& io) : io_(io) {}

  /// Stops every process of the sandbox; answers when none runs, also none that was being made.
  /// errc::timed_out: some run still (one waits for a disk), and all go on.
  task<result<void>> stop(pid_t bubblewrap, std::chrono::milliseconds limit);
  /// Continues what stop() stopped.
  void go();

private:
  asio::io_context& io_;
  std::uint64_t namespace_ = 0;
  std::set<pid_t> left_alone_; // stopped before we came
};

} // namespace skep::host
