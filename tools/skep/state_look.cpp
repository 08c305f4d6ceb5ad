#include "tools/skep/state_look.hpp"

#include "storage/damage.hpp"
#include "storage/files.hpp"
#include "storage/journal.hpp"

namespace skep::cli {

result<std::optional<storage::schema_status>> look_at_database(const storage::state_paths& paths) {
  using found = std::optional<storage::schema_status>;
  storage::migrator migrator{paths.database(), paths.backups()};
  auto schema = migrator.status();
  if (!schema && schema.err().code == errc::file_not_found) return found{};
  if (!schema) return schema.err();
  storage::open_options how;
  how.read_only = true;
  how.cache_kib = 8 * 1024;
  how.check = storage::needs_whole_check(paths.database(), migrator,
                                         storage::journal_options{}.check_at_open_bytes);
  auto db = storage::connection::open(paths.database(), how);
  if (!db) return db.err();
  if (!how.check)
    if (auto done = storage::check_ends(*db); !done) return done.err();
  return found{std::move(*schema)};
}

error start_refused(const storage::state_paths& paths) {
  if (auto e = storage::state_refused(paths.root)) return e;
  if (!storage::path_exists(paths.root)) return {};
  if (auto bound = storage::look_at_install(paths); !bound) return bound.err();
  auto database = look_at_database(paths);
  return database ? error{} : database.err();
}

} // namespace skep::cli
