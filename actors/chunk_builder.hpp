// Collects the events of one sandbox (or swarm, or of the daemon) into chunks for the JOURNAL.
//
//   add --> [open chunk] --closed--> [ready chunks] --credit--> journal --answer--> waiters
//
// A chunk is closed at 64 events, at 16 KiB, 5 ms after its first event, or at once when somebody
// waits for one of its events. At most `outstanding` chunks are on their way; meanwhile events are
// merged into the open chunk. Order of arrival is order in the journal: chunks are sent and
// (the mailbox being a queue) stored in order.
//
// A plain class without mailbox or thread: the actor that owns it calls it from its handlers.
#pragma once

#include "actors/credit.hpp"
#include "actors/directory.hpp"
#include "actors/interfaces.hpp"

#include <deque>
#include <functional>
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
  /// How long the journal may take for an answer; then waiters hear errc::timed_out.
  caf::timespan append_timeout = std::chrono::seconds{10};
  /// Pause before credit is asked for again when the global pool is empty.
  caf::timespan credit_retry = std::chrono::milliseconds{10};
};

class chunk_builder {
public:
  /// Hears the event's sequence once it is on disk, or why it is not. Called at most once, in the
  /// owner's context.
  using waiter = std::function<void(result<std::uint64_t>)>;
  using answer = std::function<void(result<std::uint64_t>)>; ///< First sequence of a chunk.

  struct host {
    /// Sends the chunk to the journal and calls the answer later, in the owner's context.
    std::function<void(chunk_ptr, answer)> append;
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
  void add(packed_event e, caf::typed_response_promise<std::uint64_t> w);
  /// Several events whose order and neighbourhood matter; answers the sequence of the last one.
  void add_all(std::vector<packed_event> events, waiter w);

  /// Packs at the present wall time and adds.
  template <event E>
  bool note(const E& e) {
    return add(pack_now(host_.wall_now(), e));
  }
  template <event E>
  void record(const E& e, waiter w) {
    add(pack_now(host_.wall_now(), e), std::move(w));
  }

  void on_timer(std::uint64_t token);
  /// Closes the open chunk now.
  void flush();
  /// Answers all who still wait with `why` and forgets the events that were not sent.
  void abandon(const error& why);

  /// Nothing is waiting here and nothing is on its way.
  bool idle() const { return state_->outstanding == 0 && ready_.empty() && open_.count == 0; }
  /// Producers that can wait should: all credit is in use and a chunk is waiting.
  bool congested() const { return !ready_.empty() || backlog_bytes_ > limits_.size_bytes; }
  std::size_t backlog_bytes() const { return backlog_bytes_; }
  std::uint32_t outstanding() const { return state_->outstanding; }
  std::uint64_t dropped() const { return dropped_total_; }
  /// Called whenever idle() becomes true; may be empty.
  std::function<void()> on_idle;
  /// Called when a chunk was refused or timed out, with its number of events; may be empty.
  std::function<void(std::uint32_t count, const error& why)> on_lost;

private:
  struct waiting {
    std::uint32_t index;
    waiter call;
  };
  struct building {
    std::uint32_t count = 0;
    std::string body;
    std::vector<waiting> waiters;
  };
  // Outlives the builder in the answers of chunks that are on their way.
  struct shared_state {
    chunk_builder* owner = nullptr;
    std::uint32_t outstanding = 0;
  };

  void put(packed_event e, waiter w);
  void close();
  void send();
  void answered(const result<std::uint64_t>& r, std::uint32_t count, std::vector<waiting>& waiters);
  void say_dropped();

  host host_;
  swarm_id swarm_;
  sandbox_id sandbox_;
  chunk_limits limits_;
  building open_;
  std::deque<building> ready_;
  std::size_t backlog_bytes_ = 0;
  std::uint64_t dropped_ = 0; ///< Since the last notice.
  std::uint64_t dropped_total_ = 0;
  std::uint64_t next_token_ = 1;
  std::uint64_t linger_timer_ = 0; ///< 0: not armed.
  std::uint64_t credit_timer_ = 0;
  std::shared_ptr<shared_state> state_;
};

/// The host of a builder that lives in the actor `self` (any event-based one): appends by request
/// to the directory's present journal. `set_timer` is the owner's way to its own clock.
template <class Self>
chunk_builder::host chunk_host(Self* self, directory_ptr dir,
                               std::function<void(caf::timespan, std::uint64_t)> set_timer,
                               caf::timespan append_timeout = chunk_limits{}.append_timeout) {
  chunk_builder::host h;
  h.append = [self, dir, append_timeout](chunk_ptr c, chunk_builder::answer done) {
    auto journal = dir->journal();
    if (!journal) return done(make_error(errc::shutting_down, "there is no journal"));
    self->request(journal, append_timeout, append_a::value, std::move(c))
        .then([done](std::uint64_t first) { done(first); },
              [done](caf::error& e) { done(from_caf(e)); });
  };
  h.set_timer = std::move(set_timer);
  h.wall_now = [dir] { return dir->wall_now(); };
  h.credit = &dir->credit();
  return h;
}

} // namespace skep::actors
