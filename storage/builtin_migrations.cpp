#include "storage/migrator.hpp"
#include "storage/state_tables.hpp"

namespace skep::storage {
namespace {

/// The newest migration that changes the state tables.
constexpr int newest_of_state = 4;

/// What a migration needs beside its SQL. On a journal that has events already (of an older
/// release, or after a rollback) the state tables are filled from it once they have all their
/// columns: the fold knows the newest form alone.
std::function<result<void>(connection&)> after(int version) {
  if (version == newest_of_state) return rebuild_state;
  return {};
}

} // namespace

const std::vector<migration>& builtin_migrations() {
#define SKEP_MIGRATION(number, name, up, down, checksum)                                           \
  migration{number, name, up, down, checksum, after(number)},
  static const std::vector<migration> list = {
#include "storage/migrations.inc"
  };
#undef SKEP_MIGRATION
  return list;
}

} // namespace skep::storage
