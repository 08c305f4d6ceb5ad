// The follower's output: whole frames to a reader that may be slow or gone.
#pragma once

#include "messages/follow.hpp"
#include "transfer/posix.hpp"

#include <functional>

namespace skep::guest {

/// Writes frames to a descriptor without ever being stuck in write(2).
class follow_output {
public:
  /// `interrupted` is asked whenever `wake_fd` becomes readable while the reader is slow; true ends
  /// the wait.
  follow_output(int fd, int wake_fd, std::function<bool()> interrupted,
                transfer::steady_time deadline)
      : fd_(fd), wake_(wake_fd), interrupted_(std::move(interrupted)), deadline_(deadline) {}

  /// False when the reader is gone, the deadline has passed or the wait was interrupted; nothing
  /// may be sent then, as a frame may be cut.
  template <message T>
  bool send(follow_kind kind, const T& x) {
    frame_.clear();
    pack_follow(frame_, kind, x);
    return write(frame_);
  }
  transfer::steady_time last() const { return last_; }

private:
  bool write(std::string_view data);

  int fd_, wake_;
  std::function<bool()> interrupted_;
  transfer::steady_time deadline_, last_ = std::chrono::steady_clock::now();
  std::string frame_;
  bool broken_ = false;
};

} // namespace skep::guest
