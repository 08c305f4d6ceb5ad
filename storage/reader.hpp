// Reading the database while the journal writes: pages of chunks for replay, rows of the state
// tables for status and recovery. Every call is one short read transaction, so that no reader pins
// the write-ahead log. One thread at a time; open as many readers as threads need them.
#pragma once

#include "messages/event_io.hpp"
#include "messages/records.hpp"
#include "storage/connection.hpp"
#include "storage/spend_state.hpp"

#include <map>
#include <optional>

namespace skep::storage {

/// Which chunks a replay wants. Empty ids: all.
struct chunk_selector {
  std::uint64_t from = 1; ///< First sequence wanted; 0 reads as 1.
  swarm_id swarm;
  sandbox_id sandbox;
  std::uint32_t max_chunks = 64;
  std::uint64_t max_bytes = 256 * 1024; ///< Of bodies; the first chunk comes in any case.
};

struct chunk_page {
  std::vector<chunk> chunks; ///< In order; the first may begin before `from`.
  std::uint64_t oldest = 1;
  std::uint64_t head = 0;
  std::uint64_t next = 1; ///< Where to go on; head + 1 when everything was given.
};

/// A swarm that was not closed, with what it was made from.
struct open_swarm {
  swarm_record record;
  bytes spec; ///< Packed swarm_spec (messages/commands.hpp).
};

/// A command that was accepted under an idempotency key.
struct stored_command {
  std::string key;
  std::string command;
  std::string fingerprint;
  bytes reply;
  utc_time expires_at{};
};

/// What is not closed: how many sandboxes and panes in each state, by its number; how many swarms.
struct open_counts {
  std::map<int, std::uint64_t> sandboxes;
  std::map<int, std::uint64_t> panes;
  std::uint64_t swarms = 0;
};

/// How fast whole uploads to one provider were, from the intent to the work trees of the panes.
struct measured_uploads {
  std::uint32_t count = 0; ///< So many; 0: none was measured.
  /// Their median, of an even number the slower one in the middle: of the files that arrived,
  /// before compression. At least 1 where one was measured.
  std::uint64_t bytes_per_s = 0;
};

class reader {
public:
  /// The database must exist with the newest schema (the journal was opened before).
  static result<reader> open(const std::filesystem::path& database);

  /// Chunks whose last sequence is >= from. errc::compacted names the oldest when `from` was
  /// trimmed.
  result<chunk_page> read_chunks(const chunk_selector& want);
  result<std::uint64_t> head();
  result<std::uint64_t> oldest();
  result<std::string> stream_id();
  /// Epoch of the newest daemon, 0 before the first.
  result<std::uint64_t> epoch();

  /// Newest first; closed ones only with `all`.
  result<std::vector<swarm_record>> swarms(bool all);
  result<swarm_record> swarm(const swarm_id& id);                    ///< no_such_swarm
  result<std::vector<sandbox_record>> sandboxes(const swarm_id& id); ///< By index.
  result<std::vector<sandbox_record>> all_sandboxes(bool all);       ///< Of swarms(all).
  result<sandbox_record> sandbox(const sandbox_id& id);              ///< not_found
  result<std::optional<sandbox_record>> find_remote(std::string_view remote_id);
  result<std::vector<pane_record>> panes(const swarm_id& id);         ///< By index.
  result<std::vector<pane_record>> panes(const sandbox_id& id);       ///< By index.
  result<std::vector<pane_record>> all_panes(bool all);               ///< Of swarms(all).
  result<pane_record> pane(const pane_id& id);                        ///< no_such_pane
  result<std::vector<transfer_record>> transfers(const swarm_id& id); ///< Oldest first.
  /// Open or closed, newest first: of this name, of this id, or, from 4 characters on, with an id
  /// that begins so.
  result<std::vector<swarm_record>> swarms_named(std::string_view text);
  /// Open or closed, newest first: of the work tree at this path.
  result<std::vector<swarm_record>> swarms_of_repo(std::string_view repo);
  /// Open or closed, oldest first: of this id, or, from 4 characters on, with one that begins so.
  result<std::vector<pane_record>> panes_named(std::string_view text);

  result<std::vector<replacement_record>> replacements(const swarm_id& id); ///< Oldest first.

  result<open_counts> count_open();

  // -- recovery
  result<std::vector<open_swarm>> open_swarms(); ///< Oldest first.
  /// Packed swarm_spec of any swarm. no_such_swarm
  result<bytes> spec(const swarm_id& id);
  result<std::vector<sandbox_record>> open_sandboxes(); ///< Not closed, oldest first.
  result<std::vector<pane_record>> open_panes();        ///< Not closed, oldest first.
  /// Kill intents that the provider has not confirmed, closed sandboxes included.
  result<std::vector<sandbox_record>> unconfirmed_kills();
  /// Create intents without answer or settlement, closed sandboxes included.
  result<std::vector<sandbox_record>> unresolved_creates();
  /// Kept sandboxes that nobody has asked to kill and whose lease on record is over at `now`; one
  /// without a lease on record has the short one of its create, and counts from its end on.
  result<std::vector<sandbox_record>> kept_past_lease(utc_time now);
  /// Sandboxes with a remote id that are still there as far as we know (open, kept, or with a kill
  /// to confirm): what the reaper compares with the provider's list.
  result<std::vector<sandbox_record>> living_sandboxes();
  /// Providers that are to be asked what bears our label; true: one of living_sandboxes() is there.
  /// The others are those of rows whose sandbox may be there all the same at `now`, whatever was
  /// said of it: its lease is not over, or it is younger than the longest lease.
  result<std::map<std::string, bool>> providers_to_list(utc_time now);
  /// True while the switch of this name ("draining") is on; false for one that nobody ever set.
  result<bool> switch_is_on(std::string_view name);
  /// Sequence of the swarm's swarm.created; 0 when it is not in the journal (any more).
  result<std::uint64_t> created_seq(const swarm_id& id);
  /// The command accepted under `key`, unless it expired before `now`.
  result<std::optional<stored_command>> command(std::string_view key, utc_time now);

  /// The last uploads to a provider, at most 5: of at least 1 MiB, without a setup, each the only
  /// one of its sandbox.
  result<measured_uploads> uploads(std::string_view provider);

  // -- money
  /// What counts against limits and budgets at `now`.
  result<spend_state> spend(utc_time now);

private:
  explicit reader(connection db) : db_(std::move(db)) {}
  connection db_;
};

} // namespace skep::storage
