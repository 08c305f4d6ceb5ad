#include "storage/migrator.hpp"
#include "storage/files.hpp"

#include <algorithm>
#include <charconv>
#include <sqlite3.h>

namespace skep::storage {
namespace {

constexpr std::string_view make_metadata =
    "CREATE TABLE IF NOT EXISTS schema_metadata (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
    "checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL) STRICT";

result<bool> has_tables(connection& db) {
  auto n = db.number("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND "
                     "name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> 'schema_metadata'",
                     0);
  if (!n) return n.err();
  return *n > 0;
}

/// What schema_metadata says, as it stands; rows before an error are in `out` all the same.
result<void> read_applied(connection& db, std::vector<applied_migration>& out) {
  auto exists = db.number("SELECT 1 FROM sqlite_master WHERE name = 'schema_metadata'", 0);
  if (!exists) return exists.err();
  if (*exists == 0) return {};
  auto q = db.prepare(
      "SELECT version, name, checksum, applied_at_ms FROM schema_metadata ORDER BY version");
  if (!q) return q.err();
  for (;;) {
    auto row = q->step();
    if (!row) return row.err();
    if (!*row) return {};
    auto& x = out.emplace_back();
    q->read(0, x.version);
    q->read(1, x.name);
    q->read(2, x.checksum);
    q->read(3, x.applied_at);
  }
}

error in_migration(const error& e, const migration& m, std::string_view direction) {
  auto out = e;
  out.message = "migration " + std::to_string(m.version) + " (" + std::string{m.name} + ", "
                + std::string{direction} + ")" + (e.message.empty() ? "" : ": " + e.message);
  return out;
}

result<void> apply_up(connection& db, const migration& m) {
  auto t = transaction::begin(db, transaction::kind::write);
  if (!t) return t.err();
  if (auto done = db.execute(m.up); !done) return in_migration(done.err(), m, "up");
  if (m.after_up)
    if (auto done = m.after_up(db); !done) return in_migration(done.err(), m, "up");
  auto noted = db.run("INSERT INTO schema_metadata VALUES (?1, ?2, ?3, ?4)", m.version, m.name,
                      m.checksum, now());
  if (!noted) return in_migration(noted.err(), m, "up");
  if (auto done = t->commit(); !done) return in_migration(done.err(), m, "up");
  return {};
}

result<void> apply_down(connection& db, const migration& m) {
  auto t = transaction::begin(db, transaction::kind::write);
  if (!t) return t.err();
  if (auto done = db.execute(m.down); !done) return in_migration(done.err(), m, "down");
  auto noted = db.run("DELETE FROM schema_metadata WHERE version = ?1", m.version);
  if (!noted) return in_migration(noted.err(), m, "down");
  if (auto done = t->commit(); !done) return in_migration(done.err(), m, "down");
  return {};
}

/// What stands behind the prefix in the name of a copy is of no finished one: the beginning of one,
/// with what SQLite had beside it, or what a program that opened a copy left there.
bool is_no_copy(std::string_view behind) {
  return behind.find(".part") != std::string_view::npos || behind.ends_with("-wal")
         || behind.ends_with("-shm") || behind.ends_with("-journal");
}

void remove_unfinished(const std::filesystem::path& part) {
  for (const auto* suffix : {"", "-wal", "-shm", "-journal"}) {
    auto leftover = part;
    leftover += suffix;
    std::error_code ignored;
    std::filesystem::remove(leftover, ignored);
  }
}

/// Removes what copies into `directory` left that were cut off: names of `prefix` and more, up to
/// ".part" and what SQLite has beside that. Best effort: a next copy tries again.
void remove_all_unfinished(const std::filesystem::path& directory, std::string_view prefix) {
  auto names = names_in(directory);
  if (!names) return;
  for (std::string_view name : *names)
    for (std::string_view ending : {".part", ".part-wal", ".part-shm", ".part-journal"})
      if (name.starts_with(prefix) && name.ends_with(ending)) {
        std::error_code ignored;
        std::filesystem::remove(directory / name, ignored);
        break;
      }
}

/// Fills the new file `part` with what `from` holds now.
result<void> copy_pages(connection& from, const std::filesystem::path& part) {
  open_options how;
  how.fills_copy = true;
  auto dest = connection::open(part, how);
  if (!dest) return dest.err();
  auto* b = sqlite3_backup_init(dest->handle(), "main", from.handle(), "main");
  if (b == nullptr)
    return sqlite_error(dest->handle(), sqlite3_errcode(dest->handle()), "cannot start a backup");
  // All pages in one step: one read transaction, which no writer waits for. In pieces it would
  // begin again after every commit and might never end.
  auto code = sqlite3_backup_step(b, -1);
  auto finished = sqlite3_backup_finish(b);
  if (code == SQLITE_DONE) code = finished;
  if (code != SQLITE_OK) return sqlite_error(dest->handle(), code, "the backup failed");
  // The copied header says that it is a database with a log, and it is one from its next opening
  // on.
  return dest->finish();
}

/// Whether a finished copy can be relied upon: all of it is there, every page is in order, and the
/// version of its schema can be read. Leaves nothing beside it.
result<void> check_copy(const std::filesystem::path& part) {
  open_options how;
  how.read_only = how.unchanging = how.check = true;
  auto db = connection::open(part, how);
  if (!db) return db.err();
  auto pages = db->number("PRAGMA page_count", 0);
  if (!pages) return pages.err();
  auto page_bytes = db->number("PRAGMA page_size", 0);
  if (!page_bytes) return page_bytes.err();
  std::error_code failed;
  auto bytes = std::filesystem::file_size(part, failed);
  if (failed) return make_error(errc::io, part.string(), failed.message());
  if (static_cast<std::uintmax_t>(*pages) * static_cast<std::uintmax_t>(*page_bytes) != bytes)
    return make_error(errc::corrupt_database, part.string(),
                      std::to_string(bytes) + " bytes are not " + std::to_string(*pages)
                          + " pages of " + std::to_string(*page_bytes));
  std::vector<applied_migration> versions;
  if (auto read = read_applied(*db, versions); !read) return read.err();
  return {};
}

} // namespace

result<std::vector<applied_migration>> migrator::verify(connection& db) const {
  std::vector<applied_migration> out;
  if (auto read = read_applied(db, out); !read) return read.err();
  if (auto wrong = mismatch(out)) return wrong;
  return out;
}

error migrator::mismatch(const std::vector<applied_migration>& applied) const {
  for (std::size_t i = 0; i < applied.size(); ++i) {
    if (applied[i].version != static_cast<int>(i) + 1)
      return make_error(errc::schema_mismatch,
                        "migration " + std::to_string(i + 1) + " is missing from schema_metadata");
    if (i >= known_.size())
      return make_error(errc::schema_mismatch,
                        "the database has schema version " + std::to_string(applied.back().version)
                            + ", this program knows " + std::to_string(known_.size())
                            + ": use the newer release that wrote it, or restore a backup");
    if (applied[i].checksum != known_[i].checksum)
      return make_error(errc::schema_mismatch,
                        "migration " + std::to_string(i + 1) + " (" + applied[i].name
                            + ") was applied with another text than this program has");
  }
  return {};
}

// What can be read is read before damage is looked for: a page elsewhere may be the damaged one.
error migrator::problem_of(std::vector<applied_migration>& applied, bool check_pages) const {
  if (!path_exists(database_)) return make_error(errc::file_not_found, database_.string());
  open_options how;
  how.read_only = true;
  auto db = connection::open(database_, how);
  if (!db) return db.err();
  auto read = read_applied(*db, applied);
  how.check = true;
  if (check_pages)
    if (auto checked = connection::open(database_, how); !checked) return checked.err();
  if (!read) return read.err();
  return mismatch(applied);
}

result<std::vector<std::filesystem::path>> migrator::list_backups() const {
  std::vector<std::filesystem::path> out;
  auto prefix = backup_prefix();
  auto names = names_in(backups_);
  if (!names) return names.err();
  for (const auto& name : *names)
    if (name.starts_with(prefix) && !is_no_copy(std::string_view{name}.substr(prefix.size())))
      out.push_back(backups_ / name);
  std::sort(out.begin(), out.end(), [&](const auto& a, const auto& b) {
    // The time stands behind the version and sorts as text.
    auto time = [&](const std::filesystem::path& p) {
      auto s = p.filename().string();
      return s.substr(std::min(s.size(), s.find('-', prefix.size())));
    };
    return std::pair{time(a), a} < std::pair{time(b), b};
  });
  return out;
}

result<schema_status> migrator::examine(bool check_pages) const {
  auto kept = list_backups();
  if (!kept) return kept.err();
  schema_status out;
  out.newest = static_cast<int>(known_.size());
  out.backups = std::move(*kept);
  out.problem = problem_of(out.applied, check_pages);
  if (!out.applied.empty()) out.current = out.applied.back().version;
  return out;
}

result<schema_status> migrator::status() const {
  auto out = examine(false);
  if (out && out->problem) return out->problem;
  return out;
}

result<schema_status> migrator::look() const {
  return examine(true);
}

std::filesystem::path migrator::usable_backup(const schema_status& found) const {
  for (auto i = found.backups.rbegin(); i != found.backups.rend(); ++i) {
    auto name = i->filename().string();
    auto at = std::min(name.size(), backup_prefix().size());
    if (is_no_copy(std::string_view{name}.substr(at))) continue;
    std::size_t version = 0;
    auto [end, wrong] = std::from_chars(name.data() + at, name.data() + name.size(), version);
    if (wrong == std::errc{} && version <= known_.size()) return *i;
  }
  return {};
}

result<migrate_report> migrator::migrate(bool with_backup) const {
  auto db = connection::open(database_);
  if (!db) return db.err();
  if (auto made = db->execute(make_metadata); !made) return made.err();
  auto applied = verify(*db);
  if (!applied) return applied.err();
  migrate_report out;
  out.from = out.to = static_cast<int>(applied->size());
  if (applied->size() == known_.size()) return out;
  auto old = has_tables(*db);
  if (!old) return old.err();
  if (*old && with_backup) {
    auto made = named_backup(out.from);
    if (!made) return made.err();
    out.backup = *made;
  }
  for (auto i = applied->size(); i < known_.size(); ++i) {
    if (auto done = apply_up(*db, known_[i]); !done) return done.err();
    out.to = known_[i].version;
  }
  return out;
}

result<migrate_report> migrator::rollback(int to) const {
  open_options how;
  how.create = false;
  auto db = connection::open(database_, how);
  if (!db) return db.err();
  auto applied = verify(*db);
  if (!applied) return applied.err();
  migrate_report out;
  out.from = out.to = static_cast<int>(applied->size());
  if (to < 0 || to >= out.from)
    return make_error(errc::bad_argument, "the schema is at version " + std::to_string(out.from)
                                              + ": it cannot go down to " + std::to_string(to));
  auto made = named_backup(out.from);
  if (!made) return made.err();
  out.backup = *made;
  while (out.to > to) {
    if (auto done = apply_down(*db, known_[static_cast<std::size_t>(out.to) - 1]); !done)
      return done.err();
    --out.to;
  }
  return out;
}

result<std::filesystem::path> migrator::named_backup(int version) const {
  if (auto made = make_private_directory(backups_); !made) return made.err();
  // Each copy has a time of its own in its name, so that no other one would find these. They take
  // as much room as the database. The state's lock is held: nobody makes one now.
  remove_all_unfinished(backups_, backup_prefix());
  auto base = backups_
              / (database_.filename().string() + ".backup-" + std::to_string(version) + "-"
                 + utc_stamp(now()));
  auto to = base;
  for (int i = 2; path_exists(to); ++i) {
    to = base;
    to += "-" + std::to_string(i);
  }
  if (auto done = backup(to); !done) return done.err();
  return to;
}

result<void> migrator::backup(const std::filesystem::path& to) const {
  if (!path_exists(database_)) return make_error(errc::file_not_found, database_.string());
  if (path_exists(to)) return make_error(errc::exists, to.string());
  auto part = to;
  part += ".part";
  remove_unfinished(part); // of an attempt that was cut off
  open_options how;
  how.create = false;
  auto from = connection::open(database_, how);
  if (!from) return from.err();
  auto done = copy_pages(*from, part);
  if (done) {
    done = check_copy(part);
    if (!done && done.err().code == errc::corrupt_database)
      done = make_error(errc::corrupt_database,
                        "the copy of " + database_.string() + " is not sound and was not kept",
                        done.err().cause);
  }
  if (done) done = publish_file(part, to);
  remove_unfinished(part);
  return done;
}

} // namespace skep::storage
