// Lets a bounded number at a time through. Thread-safe.
//
// What begins for thousands at once (a daemon that comes back looks for each of its sandboxes)
// would else wait in the queue of the network's requests, where waiting counts against each
// deadline: the last of ten thousand have no time left to be answered in.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace skep::actors {

class turnstile {
public:
  /// Whoever is inside holds it; its last copy leaves. None where there is no turnstile.
  using pass = std::shared_ptr<void>;
  /// One that may be given back (reset()) before the last of those who share it lets go.
  using shared_pass = std::shared_ptr<pass>;

  explicit turnstile(std::size_t most) : most_(most) {}

  /// Calls `go` with a pass: at once where there is room, else on the thread of whoever leaves, in
  /// the order of asking. `go` only sends a message; one that nobody takes gives its pass back.
  static void enter(const std::shared_ptr<turnstile>& through, std::function<void(pass)> go) {
    if (!through) return go({});
    {
      std::lock_guard guard{through->mutex_};
      through->waiting_.push_back(std::move(go));
    }
    let_in(through);
  }

private:
  // A pass may be given back while one is handed out, so that this is no recursion: whoever is at
  // it goes on.
  static void let_in(const std::shared_ptr<turnstile>& self) {
    std::unique_lock guard{self->mutex_};
    if (self->letting_in_) return;
    self->letting_in_ = true;
    while (self->inside_ < self->most_ && !self->waiting_.empty()) {
      auto go = std::move(self->waiting_.front());
      self->waiting_.pop_front();
      ++self->inside_;
      guard.unlock();
      go(pass{self.get(), [self](void*) { leave(self); }});
      go = {};
      guard.lock();
    }
    self->letting_in_ = false;
  }

  static void leave(const std::shared_ptr<turnstile>& self) {
    {
      std::lock_guard guard{self->mutex_};
      --self->inside_;
    }
    let_in(self);
  }

  const std::size_t most_;
  std::mutex mutex_;
  std::size_t inside_ = 0;
  bool letting_in_ = false; ///< Somebody is at it.
  std::deque<std::function<void(pass)>> waiting_;
};

} // namespace skep::actors
