// The journal: the durable, ordered list of events and the only writer of the database.
//
//   table chunks: first_seq | swarm | sandbox | count |
//                 previous_in_sandbox | previous_in_swarm | body
//
// swarm and sandbox are numbers of the tables journal_swarms and journal_sandboxes, 0 for none. The
// body is kept as it came: the bytes on disk are the bytes on the wire. Use:
//
//   begin(); append(a); append(b); ... commit();     (group commit: the caller decides how many)
//
// Numbers of appended chunks may be shown to others after commit() only. One thread at a time.
#pragma once

#include "messages/event_io.hpp"
#include "storage/audit_log.hpp"
#include "storage/connection.hpp"
#include "storage/disk_guard.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

namespace skep::storage {

class checkpointer;

struct journal_options {
  disk_limits disk;
  bool checkpoint_thread = true; ///< False: SQLite checkpoints inside commits.
  bool check = true;             ///< Looks for damage (damage.hpp); false: nowhere.
  std::uint64_t check_at_open_bytes = 64ull << 20; ///< A larger database is read after the start,
  std::chrono::milliseconds check_delay{10'000};   ///< which has the disk for so long before.
  /// What that reading came to, told once, from a thread of its own: none, corrupt_database, or why
  /// it cannot be said. May be empty.
  std::function<void(const error&)> checked;
  bool backup_before_upgrade = true;
  std::optional<audit_options> audit; ///< Keeps the audit log; none: the log stays behind.
};

/// What the journal gave a chunk.
struct numbering {
  std::uint64_t first_seq = 0;
  std::uint64_t previous_in_sandbox = 0;
  std::uint64_t previous_in_swarm = 0;
};

class journal {
public:
  /// Opens or makes the database, upgrades its schema (after a backup). The caller holds the state
  /// directory's lock. Looks for damage, in a bounded time; what takes longer is done by a thread,
  /// see journal_options. Errors: corrupt_database, schema_mismatch, io, sql.
  static result<journal> open(const std::filesystem::path& database,
                              const journal_options& options = {});
  journal(journal&&) noexcept;
  journal& operator=(journal&&) noexcept;
  ~journal();

  /// Begins a transaction.
  result<void> begin();

  /// Numbers `c`, stores it and applies its facts, all or nothing; fills c's three numbers. Must
  /// stand between begin() and commit(). On an error the transaction goes on without this chunk,
  /// its number is not used up and `c` is unchanged; but see broken(). Errors:
  ///
  /// - bad_frame: the body is damaged, its count is wrong, a fact does not fit its type or chunk
  /// - wrong_phase: a fact is not possible now (a phase that goes back, something after closed)
  /// - not_found, no_such_swarm, no_such_pane: a fact names what does not exist
  /// - exists, key_reused, stale_epoch: what a fact makes is there already
  /// - disk_full: a note or new work on a nearly full disk
  /// - corrupt_database, io, sql: the database; see broken()
  result<numbering> append(chunk& c);

  /// Makes everything since begin() durable. An error is final: the caller stops the daemon,
  /// nothing may be tried again (whether the data reached the disk is unknown).
  result<void> commit();

  /// True when SQLite ended the transaction by itself, a commit failed or a damaged page was met:
  /// stop the daemon.
  bool broken() const;

  /// Last sequence appended (committed or not), 0 for an empty journal.
  std::uint64_t head() const;
  /// First sequence that is kept; 1 for an empty journal.
  std::uint64_t oldest() const;
  /// Newest epoch in the database; 0: no daemon ran yet. The file beside it may know of later ones
  /// (epoch_file.hpp): take_epoch() reckons with both.
  result<std::uint64_t> newest_epoch() const;
  const std::filesystem::path& database() const;
  /// Random name of this journal's numbering; another one means that numbers start anew.
  const std::string& stream_id() const;
  /// Gives the numbering another name: some of its numbers were given once before. Between begin()
  /// and commit(), before anything is published.
  result<void> renew_stream();
  /// The audit log; null when the options named none.
  const audit_log* audit() const;
  /// How full the disk is; refreshed by begin() at most once a second.
  disk_level disk() const;

private:
  struct state;
  explicit journal(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

/// Journals audit.repaired when opening the audit log mended something; in a transaction of its
/// own.
result<void> record_repair(journal& j, utc_time now);

/// Takes the state directory over: journals daemon.started with the next epoch, in a transaction of
/// its own, writes it down beside the database, and gives it. It is above all that the database or
/// that file knows. Where the database is a restored one its stream is renewed (notice
/// `state_restored`); a file that cannot be read or written is told (`epoch_file`) and stops
/// nothing. The caller holds the lock and has caused no effect yet.
result<std::uint64_t> take_epoch(journal& j, const std::string& version, std::int64_t pid,
                                 utc_time now);

/// At the orderly end of a daemon: how far its events came, beside the database. Errors: io,
/// disk_full, sql.
result<void> note_head(const journal& j);

} // namespace skep::storage
