#include "storage/migrator.hpp"
#include "storage/state_tables.hpp"

namespace skep::storage {
namespace {

/// The newest migration that changes rows of the state tables, which indexes alone do not.
constexpr int newest_of_state = 6;

/// What a migration needs beside its SQL. The newest one that changes the state tables fills them
/// anew from the journal: an older one could not, because the fold knows the newest columns only.
std::function<result<void>(connection&)> after(int version) {
  if (version == 2) return can_rebuild; // before anything is made that could not be filled
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
