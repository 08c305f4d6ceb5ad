// An actor system without threads and without real time, for message-script tests.
//
// Nothing runs by itself: run() lets every actor handle what is in its mailbox until all are quiet,
// advance() moves the clock from one due timer to the next. So an hour of timers takes milliseconds
// and a test is the same at every run. Detached actors would still get threads of their own: spawn
// the undetached forms.
#pragma once

#include <caf/all.hpp>
#include <caf/detail/test_actor_clock.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <vector>

namespace skep::test {

class virtual_system {
  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };
  config config_;

public:
  caf::actor_system sys{config_};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(sys.scheduler());
  caf::scoped_actor self{sys, true};

  virtual_system() {
    clock().current_time += std::chrono::hours{1}; // so that no due time is before the epoch
    baseline_ = sys.registry().running();
  }
  virtual_system(const virtual_system&) = delete;
  virtual_system& operator=(const virtual_system&) = delete;

  /// Ends all roots in order, lets grace periods pass, and drops what periodic timers are left: the
  /// actor system's destructor would run them for ever.
  ~virtual_system() {
    stop_roots();
    clock().cancel_all();
    sys.await_actors_before_shutdown(false);
  }

  /// Makes the actor one that is stopped at the end.
  template <class Handle>
  Handle root(Handle h) {
    roots_.push_back(caf::actor_cast<caf::strong_actor_ptr>(h));
    return h;
  }

  void stop_roots() {
    for (auto i = roots_.rbegin(); i != roots_.rend(); ++i)
      caf::anon_send_exit(*i, caf::exit_reason::user_shutdown);
    roots_.clear();
    advance(std::chrono::minutes{10});
  }

  /// Actors that run now, beside those that the test system itself has.
  std::size_t running() { return sys.registry().running() - baseline_; }

  /// Handles messages until none is left; returns how many turns that took.
  std::size_t run() {
    std::size_t turns = 0;
    while (scheduler.try_run_once())
      if (++turns > 10'000'000) throw std::runtime_error("the actors never become quiet");
    return turns;
  }

  /// Moves the clock by `d`, stopping at each due time, so that a timer that is armed again in its
  /// own handler sees the right time.
  void advance(caf::timespan d) {
    const auto end = clock().current_time + d;
    run();
    for (;;) {
      const auto outside_at = next_outside();
      const auto due = clock().schedule().empty() ? caf::actor_clock::time_point::max()
                                                  : clock().schedule().begin()->first;
      if (std::min(due, outside_at) > end) break;
      if (due < outside_at) {
        clock().advance_time(std::max(due - clock().current_time, caf::timespan{0}));
      } else {
        clock().current_time = outside_at;
        outside();
      }
      run();
    }
    clock().current_time = end;
  }

  /// What happens outside the actors each time so much has passed; nothing while it is empty.
  std::function<void()> outside;
  caf::timespan outside_every{std::chrono::seconds{30}};

  /// Deadlines of requests that the clock still holds.
  std::size_t deadlines() {
    std::size_t out = 0;
    for (const auto& [due, what] : clock().schedule())
      out += what->subtype == caf::detail::simple_actor_clock::request_timeout_type;
    return out;
  }

  /// Time since the system was made.
  caf::timespan now() { return clock().current_time.time_since_epoch() - std::chrono::hours{1}; }

  /// Asks, runs until quiet, and fetches the answer; no answer is sec::request_timeout. R = void
  /// waits for a bare acknowledgement and gives caf::unit.
  template <class R, class Handle, class... Ts>
  auto ask(const Handle& h, Ts&&... xs) {
    using value = std::conditional_t<std::is_void_v<R>, caf::unit_t, R>;
    auto pending = self->request(h, caf::infinite, std::forward<Ts>(xs)...);
    run();
    caf::expected<value> out{caf::make_error(caf::sec::request_timeout)};
    if (!has_mail()) return out;
    auto fail = [&](caf::error& e) { out = std::move(e); };
    if constexpr (std::is_void_v<R>)
      pending.receive([&] { out = caf::unit; }, fail);
    else
      pending.receive([&](R& x) { out = std::move(x); }, fail);
    return out;
  }

  /// The reason with which `h` ended; sec::request_timeout while it lives.
  template <class Handle>
  caf::error reason_of(const Handle& h) {
    self->monitor(h);
    run();
    caf::error out = caf::make_error(caf::sec::request_timeout);
    if (has_mail())
      self->receive([&](caf::down_msg& d) { out = d.reason; });
    else
      self->demonitor(h->address());
    return out;
  }

private:
  caf::detail::test_actor_clock& clock() { return scheduler.clock(); }
  caf::actor_clock::time_point next_outside() {
    if (!outside) return caf::actor_clock::time_point::max();
    const auto now = clock().current_time;
    return now + (outside_every - now.time_since_epoch() % outside_every);
  }
  bool has_mail() { return !self->mailbox().empty() || self->peek_at_next_mailbox_element(); }

  std::size_t baseline_ = 0;
  std::vector<caf::strong_actor_ptr> roots_;
};

} // namespace skep::test
