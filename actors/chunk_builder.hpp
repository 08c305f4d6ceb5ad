// Collects the events of one sandbox (or swarm, or of the daemon) into chunks for the JOURNAL.
//
//   add --> [chunk ... chunk] --due, credit--> journal --answer--> waiters
//            oldest    open
//
// A chunk is due at 64 events, at 16 KiB, 5 ms after its first event, or at once when somebody
// waits for one of its events. While it cannot be sent, later events are merged into the youngest
// chunk. Order of arrival is order in the journal.
//
// The journal refuses a chunk as a whole when one fact in it is not possible. So that one
// producer's mistake costs no other one its events, a chunk that mixes a fact with anything else
// travels alone; when it is refused its events are sent again one by one, before anything younger.
// Notes and single facts have up to `outstanding` chunks on their way.
//
// A plain class without mailbox or thread: the actor that owns it calls it from its handlers.
#pragma once

#include "actors/answered.hpp"
#include "actors/credit.hpp"
#include "actors/directory.hpp"
#include "actors/interfaces.hpp"

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <vector>

namespace skep::actors {

struct chunk_limits {
  std::uint32_t events = 64;
  std::size_t size_bytes = 16 * 1024;
  caf::timespan linger = std::chrono::milliseconds{5};
  std::uint32_t outstanding = 3; ///< Chunks sent and not answered.
  /// Beyond this many bytes waiting here, notes are dropped (counted, and said by a notice later).
  std::size_t backlog_bytes = 1024 * 1024;
  /// How long the journal may take for an answer; then waiters hear errc::timed_out. Long, for what
  /// is answered late is stored late all the same: who gives up sooner believes the wrong thing.
  /// The death of the journal is heard at once, and a commit that fails ends the process.
  caf::timespan append_timeout = std::chrono::minutes{10};
  /// Pause before credit is asked for again when the global pool is empty.
  caf::timespan credit_retry = std::chrono::milliseconds{10};
};

class chunk_builder {
public:
  /// Hears the event's sequence once it is on disk, or why it is not. Called at most once, in the
  /// owner's context.
  using waiter = std::function<void(result<std::uint64_t>)>;
  using appended = std::function<void(result<std::uint64_t>)>; ///< First sequence of a chunk.

  struct host {
    /// Sends the chunk to the journal and calls the answer later, in the owner's context.
    std::function<void(chunk_ptr, appended)> append;
    /// Calls on_timer(token) after the delay; late and unknown tokens are harmless.
    std::function<void(caf::timespan, std::uint64_t token)> set_timer;
    std::function<utc_time()> wall_now;
    credit_pool* credit = nullptr; ///< May be null.
  };

  chunk_builder(host h, swarm_id swarm, sandbox_id sandbox, chunk_limits limits = {});
  ~chunk_builder();
  chunk_builder(const chunk_builder&) = delete;
  chunk_builder& operator=(const chunk_builder&) = delete;

  /// Takes an event nobody waits for. False when it was dropped because of the backlog.
  bool add(packed_event e);
  /// Takes an event and answers its sequence; its chunk is closed at once.
  void add(packed_event e, waiter w);
  /// The same for a promise.
  void add(packed_event e, caf::typed_response_promise<std::uint64_t> w);
  /// Several events that stand together in one chunk, also where it grows beyond the limits of one:
  /// all are stored or none. Answers the sequence of the last one. Must not be empty.
  void add_all(std::vector<packed_event> events, waiter w);
  /// The same for a promise.
  void add_all(std::vector<packed_event> events, caf::typed_response_promise<std::uint64_t> w);

  /// Packs at the present wall time and adds.
  template <event E>
  bool note(const E& e) {
    return add(pack_now(wall_now(), e));
  }
  template <event E>
  void record(const E& e, waiter w) {
    add(pack_now(wall_now(), e), std::move(w));
  }

  void on_timer(std::uint64_t token);
  /// Makes everything due now.
  void flush();
  /// Answers all who still wait, here and on the way, with `why`; forgets events that were not
  /// sent.
  void abandon(const error& why);

  /// Nothing is waiting here and nothing is on its way.
  bool idle() const { return queue_.empty() && flying_.empty(); }
  /// Something is due and cannot be sent: producers that can wait should.
  bool congested() const { return !queue_.empty() && queue_.front().due; }
  std::size_t backlog_bytes() const { return backlog_bytes_; }
  std::uint32_t outstanding() const { return static_cast<std::uint32_t>(flying_.size()); }
  std::uint64_t dropped() const { return dropped_total_; }

  /// Called whenever idle() becomes true after an answer; may be empty.
  std::function<void()> on_idle;
  /// Called for events that were refused or whose fate is unknown (a timeout); may be empty.
  std::function<void(std::uint32_t count, const error& why)> on_lost;

private:
  struct building {
    std::string body;
    std::vector<std::uint32_t> ends;                       ///< End of each event in `body`.
    std::vector<std::pair<std::uint32_t, waiter>> waiters; ///< With the index of their event.
    bool has_fact = false;
    bool due = false;
    bool sealed = false; ///< Takes no more events.
    std::uint32_t count() const { return static_cast<std::uint32_t>(ends.size()); }
    bool alone() const { return has_fact && ends.size() > 1; }
  };
  using flying_map = std::map<std::uint64_t, building>; ///< By order of sending.

  building& room_for(std::size_t size_bytes);
  void put(building& b, packed_event e, waiter w);
  void send();
  bool can_send();
  void send_front();
  void give_back(std::size_t size_bytes);
  void answered(std::uint64_t id, const result<std::uint64_t>& r);
  void split(building b);
  void arm_linger();
  void say_dropped();
  utc_time wall_now() const { return host_.wall_now(); }

  host host_;
  swarm_id swarm_;
  sandbox_id sandbox_;
  chunk_limits limits_;
  std::list<building> queue_; ///< Costs nothing while it is empty, as it is nearly always.
  flying_map flying_;
  std::size_t backlog_bytes_ = 0;
  std::size_t credit_held_ = 0; ///< Taken from the global pool for chunks on their way.
  bool sending_ = false;
  std::uint64_t dropped_ = 0; ///< Since the last notice.
  std::uint64_t dropped_total_ = 0;
  std::uint64_t next_id_ = 1;
  std::uint64_t next_token_ = 1;
  std::uint64_t linger_timer_ = 0; ///< 0: not armed.
  std::uint64_t credit_timer_ = 0;
  std::shared_ptr<chunk_builder*> self_; ///< Null inside once this is gone: answers come late.
};

/// The host of a builder that lives in the actor `self` (any event-based one): appends by request
/// to the directory's present journal. `set_timer` is the owner's way to its own clock.
template <class Self>
chunk_builder::host chunk_host(Self* self, directory_ptr dir,
                               std::function<void(caf::timespan, std::uint64_t)> set_timer,
                               caf::timespan append_timeout = chunk_limits{}.append_timeout) {
  chunk_builder::host h;
  h.append = [self, dir, append_timeout](chunk_ptr c, chunk_builder::appended done) {
    auto journal = dir->journal();
    if (!journal) return done(make_error(errc::shutting_down, "there is no journal"));
    ask<std::uint64_t>(
        self, journal, append_timeout, [done](std::uint64_t first) { done(first); },
        [done](caf::error& e) { done(from_caf(e)); }, append_a::value, std::move(c));
  };
  h.set_timer = std::move(set_timer);
  h.wall_now = [dir] { return dir->wall_now(); };
  h.credit = &dir->credit();
  return h;
}

} // namespace skep::actors
