// The JOURNAL: the only way events reach the disk, with natural group commit.
//
//   idle --append--> collecting --mailbox was drained | 1,000 events | 10 ms--> COMMIT --> idle
//
// While a COMMIT runs, chunks collect in the mailbox and become the next transaction. After COMMIT,
// in this order: the head becomes visible, waiters are answered, chunks go to the PUBLISHER. So no
// subscriber ever sees an event that could vanish.
#pragma once

#include "actors/directory.hpp"
#include "actors/interfaces.hpp"

#include <functional>
#include <memory>
#include <optional>

namespace skep::actors {

/// What the JOURNAL writes to. Used by one thread only, that of the actor.
class journal_backend {
public:
  virtual ~journal_backend() = default;
  /// Opens a transaction.
  virtual result<void> begin() = 0;
  /// Numbers the chunk (first_seq, previous_*), stores it and applies its facts, all or nothing:
  /// an error leaves the open transaction as it was before.
  virtual result<std::uint64_t> append(chunk& c) = 0;
  /// Makes everything since begin() durable. A failure is final: what is on disk is unknown.
  virtual result<void> commit() = 0;
  /// The transaction was lost: nothing may go on. Asked after every append() that failed.
  virtual bool broken() const { return false; }
  /// Last sequence that was appended, 0 for none.
  virtual std::uint64_t head() const = 0;
  virtual std::string stream_id() const = 0;
  /// What people should read of the backend itself, such as a log beside it that cannot be written;
  /// each is given once. Asked after every commit.
  virtual std::optional<notice> word() { return std::nullopt; }
};

/// Opens the backend; called in the JOURNAL's thread before its first message.
using open_backend = std::function<result<std::unique_ptr<journal_backend>>()>;

struct journal_options {
  std::uint32_t commit_events = 1000;
  caf::timespan commit_after = std::chrono::milliseconds{10};
  /// A COMMIT failed: must not return in production. Empty: says it on standard error and ends the
  /// process with status 74 at once, so that nothing is acknowledged that is not on disk. When it
  /// returns (tests), the waiters get the error and the actor ends with it.
  std::function<void(const error&)> fatal;
};

/// Detached: a thread of its own. Does not put itself into the directory. When the backend cannot
/// be opened the actor ends with that error.
journal_actor spawn_journal(caf::actor_system& sys, directory_ptr dir, open_backend open,
                            journal_options options = {});
/// Detached, as child of another actor.
journal_actor spawn_journal(caf::scheduled_actor* parent, directory_ptr dir, open_backend open,
                            journal_options options = {});
/// The same actor on the scheduler's threads, for tests under a virtual clock.
journal_actor spawn_journal_undetached(caf::actor_system& sys, directory_ptr dir, open_backend open,
                                       journal_options options = {});
journal_actor spawn_journal_undetached(caf::scheduled_actor* parent, directory_ptr dir,
                                       open_backend open, journal_options options = {});

} // namespace skep::actors
