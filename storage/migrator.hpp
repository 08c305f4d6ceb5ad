// Schema versions: numbered migrations (folder migrations/), compiled in, each one transaction.
// Table schema_metadata (version, name, checksum, applied_at_ms) is made before anything else and
// says what was applied; a migration whose text changed since then is errc::schema_mismatch.
#pragma once

#include "storage/connection.hpp"

#include <functional>
#include <vector>

namespace skep::storage {

struct migration {
  int version = 0; ///< From 1, without gaps.
  std::string_view name;
  std::string_view up;
  std::string_view down;
  std::string_view checksum; ///< SHA-256 (hex) of `up`, a dot, SHA-256 of `down`.
  /// Runs after `up` in the same transaction; may be empty.
  std::function<result<void>(connection&)> after_up;
};

/// The migrations of this program, in order.
const std::vector<migration>& builtin_migrations();

struct applied_migration {
  int version = 0;
  std::string name;
  std::string checksum;
  utc_time applied_at{};
};

struct schema_status {
  int current = 0; ///< 0: empty, or it cannot be read.
  int newest = 0;  ///< Known to this program.
  std::vector<applied_migration> applied;
  std::vector<std::filesystem::path> backups; ///< Oldest first.
  error problem; ///< Why this program cannot use the database; none when it can.
};

struct migrate_report {
  int from = 0;
  int to = 0;
  std::filesystem::path backup; ///< Empty when none was made.
};

/// Brings the schema of one database file up and down. The caller holds the state directory's lock.
class migrator {
public:
  /// Backups go to `backups`, named <file>.backup-<version>-<UTC time>.
  migrator(std::filesystem::path database, std::filesystem::path backups,
           const std::vector<migration>& known = builtin_migrations())
      : database_(std::move(database)), backups_(std::move(backups)), known_(known) {}

  /// Versions and backups; changes nothing. Errors: file_not_found, schema_mismatch,
  /// corrupt_database.
  result<schema_status> status() const;
  /// The same of a database in whatever state, with what is wrong as `problem`; all its pages are
  /// checked, however many there are. The only error: io, when the backups cannot be listed.
  result<schema_status> look() const;
  /// The newest backup with a schema that this program knows; empty when there is none.
  std::filesystem::path usable_backup(const schema_status& found) const;
  /// Applies what is missing, after a backup when the database is not new. Running it twice is
  /// running it once. schema_mismatch for a newer or changed schema.
  result<migrate_report> migrate(bool with_backup = true) const;
  /// Goes down to version `to` (after a backup). bad_argument for a version that is not below.
  result<migrate_report> rollback(int to) const;
  /// Consistent copy of the database, also while it is written. Every page of the copy is read
  /// before it gets its name, which takes about as long again as copying: after an error there is
  /// no `to`, nor anything else of the copy. Errors: exists when `to` exists, disk_full, io,
  /// corrupt_database (the copy is not sound, most likely because the database is not).
  result<void> backup(const std::filesystem::path& to) const;

private:
  result<std::vector<applied_migration>> verify(connection& db) const;
  error mismatch(const std::vector<applied_migration>& applied) const;
  error problem_of(std::vector<applied_migration>& applied, bool check_pages) const;
  result<std::vector<std::filesystem::path>> list_backups() const;
  result<schema_status> examine(bool check_pages) const;
  std::string backup_prefix() const { return database_.filename().string() + ".backup-"; }
  result<std::filesystem::path> named_backup(int version) const;
  std::filesystem::path database_;
  std::filesystem::path backups_;
  const std::vector<migration>& known_;
};

} // namespace skep::storage
