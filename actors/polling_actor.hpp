// A detached actor that sleeps in a poll(2) of its own instead of in its mailbox.
//
// The owner handles a self-sent `pump` message: it polls its sockets together with wake_fd(), calls
// settle_wake() and sends itself the next pump. A message from another thread makes wake_fd()
// readable, at most once between two calls of settle_wake(): a burst of messages costs one system
// call a round, not one a message. No wake-up is lost: whatever was enqueued before settle_wake()
// stands in the mailbox before the next pump, whatever comes later writes again.
#pragma once

#include <caf/all.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace skep::actors {

/// `Base` is the base class of a typed actor (`X::base`). Spawn with caf::detached.
template <class Base>
class polling_actor : public Base {
public:
  template <class... Args>
  explicit polling_actor(caf::actor_config& cfg, Args&&... args)
      : Base(cfg, std::forward<Args>(args)...), fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  polling_actor(const polling_actor&) = delete;
  polling_actor& operator=(const polling_actor&) = delete;
  /// Other threads may enqueue until the last handle is gone, so the descriptor lives as long.
  ~polling_actor() override { ::close(fd_); }

  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit* unit) override {
    Base::enqueue(std::move(element), unit);
    if (std::this_thread::get_id() == owner_.load() || signalled_.exchange(true)) return;
    std::uint64_t one = 1;
    // An eventfd refuses a write only when its counter is full, which is as good as signalled.
    [[maybe_unused]] auto n = ::write(fd_, &one, sizeof one);
  }

protected:
  /// Called once on the actor's own thread, before the first pump.
  void adopt_thread() { owner_.store(std::this_thread::get_id()); }
  /// Readable when a message from another thread waits.
  int wake_fd() const { return fd_; }
  /// Call after every poll, before the next pump is sent.
  void settle_wake() {
    std::uint64_t n = 0;
    [[maybe_unused]] auto got = ::read(fd_, &n, sizeof n);
    signalled_.store(false);
  }

private:
  int fd_;
  std::atomic<bool> signalled_{false};
  std::atomic<std::thread::id> owner_{};
};

} // namespace skep::actors
