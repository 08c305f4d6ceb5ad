// Time as the programs of the sandbox see it: it stands still while the sandbox is paused, so that
// a deadline that was half over before a pause is half over after it.
#pragma once

#include "host/envd/async.hpp"

namespace skep::envd {

class pause_clock {
public:
  clock::time_point now() const { return (frozen_ ? frozen_at_ : clock::now()) - paused_; }
  bool frozen() const { return frozen_; }
  /// The processes of the sandbox are about to be stopped.
  void freeze() {
    if (!frozen_) frozen_at_ = clock::now();
    frozen_ = true;
  }
  /// They run again.
  void thaw() {
    if (frozen_) paused_ += clock::now() - frozen_at_;
    frozen_ = false;
  }

private:
  bool frozen_ = false;
  clock::time_point frozen_at_{};
  clock::duration paused_{};
};

} // namespace skep::envd
