// Where everybody looks up the current handle of a service. A handle changes when its actor is
// restarted, so it is asked for at each use and not kept.
//
// Thread-safe. Holds strong handles, also of detached actors: clear() comes before the actor system
// ends, or it never does.
#pragma once

#include "actors/credit.hpp"
#include "actors/interfaces.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace skep::actors {

/// Time since the machine was started, sleep included.
std::chrono::milliseconds boot_clock();

class directory {
public:
  /// Wall time for events; tests inject their own.
  using wall_clock = std::function<utc_time()>;

  directory() = default;
  explicit directory(wall_clock wall) : wall_(std::move(wall)) {}

  /// Current wall time, from the injected clock or the system's.
  utc_time wall_now() const;

  // Current handles; null before the first put and after clear().
  journal_actor journal() const { return get(journal_); }
  publisher_actor publisher() const { return get(publisher_); }
  control_actor control() const { return get(control_); }
  limiter_actor limiter() const { return get(limiter_); }
  admission_actor admission() const { return get(admission_); }
  desk_actor commands() const { return get(commands_); } ///< Commands that change something.
  desk_actor queries() const { return get(queries_); }   ///< Questions, answered from the tables.
  desk_actor attachments() const { return get(attachments_); } ///< Terminals of people.
  recorder_actor recorder() const { return get(recorder_); }   ///< Events above swarms.

  void put_journal(journal_actor h) { set(journal_, std::move(h)); }
  void put_publisher(publisher_actor h) { set(publisher_, std::move(h)); }
  void put_control(control_actor h) { set(control_, std::move(h)); }
  void put_limiter(limiter_actor h) { set(limiter_, std::move(h)); }
  void put_admission(admission_actor h) { set(admission_, std::move(h)); }
  void put_commands(desk_actor h) { set(commands_, std::move(h)); }
  void put_queries(desk_actor h) { set(queries_, std::move(h)); }
  void put_attachments(desk_actor h) { set(attachments_, std::move(h)); }
  void put_recorder(recorder_actor h) { set(recorder_, std::move(h)); }

  /// Who answers a command of the control protocol; null while it is down.
  desk_actor desk_for(std::uint32_t command) const;

  /// Any other actor under a name of its own ("reaper", "http", ...).
  void put(const std::string& name, caf::strong_actor_ptr h);
  caf::strong_actor_ptr find(const std::string& name) const;
  /// Tells the REAPER to look now: a kill intent was just journaled, or the end of a sandbox whose
  /// create has no answer, or a place is waited for that a dead sandbox holds. It lists nothing
  /// for that, and wakes that come together are one. While it is down nothing is told: it looks by
  /// itself when it is back.
  void wake_reaper() const;

  /// Drops every handle.
  void clear();

  /// Bytes that are on their way to the journal, over all producers.
  credit_pool& credit() { return credit_; }

  /// Last sequence that is on disk; set by the JOURNAL after COMMIT.
  std::uint64_t head_seq() const { return head_seq_.load(std::memory_order_acquire); }
  void set_head_seq(std::uint64_t seq) { head_seq_.store(seq, std::memory_order_release); }

private:
  template <class H>
  H get(const H& slot) const {
    std::lock_guard lock{mutex_};
    return slot;
  }
  template <class H>
  void set(H& slot, H value) {
    std::lock_guard lock{mutex_};
    std::swap(slot, value); // a parameter dies after the lock, and with it the old handle
  }

  wall_clock wall_;
  credit_pool credit_;
  std::atomic<std::uint64_t> head_seq_{0};
  mutable std::mutex mutex_;
  journal_actor journal_;
  publisher_actor publisher_;
  control_actor control_;
  limiter_actor limiter_;
  admission_actor admission_;
  desk_actor commands_;
  desk_actor queries_;
  desk_actor attachments_;
  recorder_actor recorder_;
  std::map<std::string, caf::strong_actor_ptr> named_;
};

using directory_ptr = std::shared_ptr<directory>;

} // namespace skep::actors
