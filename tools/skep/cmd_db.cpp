// skep db status|migrate|rollback|backup|rebind: the state on disk itself, without skepd.
#include "storage/audit_spool.hpp"
#include "storage/disown.hpp"
#include "storage/epoch_file.hpp"
#include "storage/files.hpp"
#include "storage/migrator.hpp"
#include "tools/skep/commands.hpp"
#include "tools/skep/term.hpp"

#include <CLI/CLI.hpp>
#include <memory>

namespace skep::cli {

namespace {

storage::migrator migrator_of(const storage::state_paths& paths) {
  return {paths.database(), paths.backups()};
}

/// As a shell reads it back.
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

/// How `backup` takes the place of the database, as docs/operations.md has it. What is there now
/// stays as evidence, under a name of its own each time, and with it its log (-wal): the newest
/// events may stand there alone, and SQLite finds them by that name. The index of the log (-shm)
/// is made anew from it.
std::vector<std::string> restore_commands(const app& a, const storage::state_paths& paths,
                                          const std::filesystem::path& backup) {
  auto database = paths.database().string();
  auto skep = a.state_option.empty() ? std::string{"skep"}
                                     : "skep --state " + shell_word(paths.root.string());
  std::vector<std::string> out{skep + " daemon stop"};
  std::error_code ignored;
  auto aside = database + ".set-aside-" + storage::utc_stamp(storage::now());
  if (std::filesystem::exists(database, ignored))
    out.push_back("mv " + shell_word(database) + " " + shell_word(aside));
  // Whether there is one shows once the daemon has ended.
  out.push_back("[ ! -e " + shell_word(database + "-wal") + " ] || mv "
                + shell_word(database + "-wal") + " " + shell_word(aside + "-wal"));
  out.push_back("rm -f " + shell_word(database + "-shm"));
  out.push_back("cp " + shell_word(backup.string()) + " " + shell_word(database));
  out.push_back(skep + " daemon start");
  return out;
}

json schema_document(const storage::state_paths& paths, const storage::schema_status& s,
                     const std::vector<std::string>& restore) {
  json out{{"database", paths.database().string()},
           {"current", s.current},
           {"newest", s.newest},
           {"applied", json::array()},
           {"backups", json::array()},
           {"restore", restore}};
  for (const auto& m : s.applied)
    out["applied"].push_back({{"version", m.version},
                              {"name", m.name},
                              {"checksum", m.checksum},
                              {"applied_at_ms", m.applied_at.time_since_epoch().count()}});
  for (const auto& b : s.backups)
    out["backups"].push_back(b.string());
  if (s.problem) out.update(error_document(s.problem));
  return out;
}

void show_schema(const storage::state_paths& paths, const storage::schema_status& s) {
  auto found =
      s.problem && s.applied.empty() ? std::string{"cannot be read"} : std::to_string(s.current);
  print_line(paths.database().string() + ": schema " + found + ", this release knows "
             + std::to_string(s.newest));
  for (const auto& m : s.applied)
    print_line("  " + std::to_string(m.version) + " " + safe_line(m.name) + ", "
               + age_text(m.applied_at) + " ago");
  for (const auto& b : s.backups)
    print_line("  backup " + b.string());
}

void show_restore(const std::vector<std::string>& commands) {
  if (commands.empty()) {
    print_line("No backup here has a schema that this release knows. What `skep db backup` wrote "
               "elsewhere serves as well: docs/operations.md, \"Backup and schema\".");
    return;
  }
  print_line("To restore the newest backup that this release can use (what came after it is lost "
             "to it):");
  for (const auto& c : commands)
    print_line("  " + c);
  print_line("Sandboxes younger than that backup are orphans to it: within a minute of the last "
             "command they are killed, with their work. Before it, `skep db migrate` and `skep "
             "recover --plan --ask` show them (kill_orphan).");
}

/// Whatever state the database is in: it is asked when something is wrong.
int schema_status(const app& a) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  auto migrator = migrator_of(*paths);
  auto s = migrator.look();
  if (!s) return fail(a, s.err());
  const auto& wrong = s->problem;
  if (wrong.code == errc::file_not_found && s->backups.empty()) return fail(a, wrong);
  std::vector<std::string> restore;
  if (auto backup = migrator.usable_backup(*s); wrong && !backup.empty())
    restore = restore_commands(a, *paths, backup);
  if (a.json_mode) {
    print_json(schema_document(*paths, *s, restore));
    return wrong ? info(wrong.code).exit_code : 0;
  }
  show_schema(*paths, *s);
  if (wrong) {
    show_restore(restore);
    return fail(a, wrong);
  }
  if (s->current < s->newest) remark("The next skepd upgrades it, or now: skep db migrate");
  return 0;
}

int show_report(const app& a, const storage::migrate_report& r) {
  if (a.json_mode) {
    print_json({{"from", r.from}, {"to", r.to}, {"backup", r.backup.string()}});
    return 0;
  }
  print_line(r.from == r.to ? "The schema is " + std::to_string(r.to) + " already."
                            : "Schema " + std::to_string(r.from) + " -> " + std::to_string(r.to));
  if (!r.backup.empty()) print_line("Backup: " + r.backup.string());
  return 0;
}

/// Does `deed`, which takes the schema from one version to another, and leaves word of it for the
/// audit log first: where no word can be left, nothing is changed.
template <class F>
result<storage::migrate_report> with_word(const storage::state_paths& paths, const char* operation,
                                          int from, int to, const F& deed) {
  auto word = storage::leave_word(paths.root, operation,
                                  std::to_string(from) + " to " + std::to_string(to));
  if (!word) return word.err();
  auto r = deed(migrator_of(paths));
  if (r) return r;
  // Each version is a transaction of its own: the word stays unless certainly none was done.
  auto now = migrator_of(paths).status();
  if (now ? now->current == from : from == 0 && now.err().code == errc::file_not_found)
    storage::take_back(*word);
  return r;
}

int migrate(const app& a) {
  auto paths = made_state(a);
  if (!paths) return fail(a, paths.err());
  auto lock = storage::state_lock::acquire(*paths);
  if (!lock) return fail(a, lock.err());
  auto there = migrator_of(*paths).status();
  if (!there && there.err().code != errc::file_not_found) return fail(a, there.err());
  auto newest = static_cast<int>(storage::builtin_migrations().size());
  auto from = there ? there->current : 0;
  auto up = [](const storage::migrator& m) { return m.migrate(); };
  auto r = from == newest ? up(migrator_of(*paths))
                          : with_word(*paths, "SCHEMA_MIGRATED", from, newest, up);
  if (!r) return fail(a, r.err());
  return show_report(a, *r);
}

int rollback(const app& a, int to) {
  // The first migration made the journal: below it every run would be gone.
  if (to < 1)
    return fail(a, make_error(errc::out_of_range,
                              "--to must be at least 1, not " + std::to_string(to)
                                  + ": version 1 holds the journal, below it there is none"));
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  // Before the lock: where there is no database the answer is that.
  if (auto there = migrator_of(*paths).status(); !there) return fail(a, there.err());
  auto lock = storage::state_lock::acquire(*paths);
  if (!lock) return fail(a, lock.err());
  auto there = migrator_of(*paths).status();
  if (!there) return fail(a, there.err());
  auto down = [to](const storage::migrator& m) { return m.rollback(to); };
  auto r = with_word(*paths, "SCHEMA_ROLLED_BACK", there->current, to, down);
  if (!r) return fail(a, r.err());
  return show_report(a, *r);
}

int backup(const app& a, const std::string& file) {
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  std::error_code failed;
  auto to = std::filesystem::absolute(file, failed);
  if (auto done = migrator_of(*paths).backup(to); !done) return fail(a, done.err());
  if (a.json_mode)
    print_json({{"backup", to.string()}});
  else
    print_line("Backup: " + to.string());
  return 0;
}

/// What the local host of the original goes by: a copy must not find, and use, that one.
void forget_host(const storage::state_paths& paths) {
  std::error_code ignored;
  std::filesystem::remove(paths.host() / "key", ignored);
  std::filesystem::remove(paths.host() / "state" / "ready.json", ignored);
}

int rebind(const app& a, bool keep_id, bool new_id) {
  if (keep_id == new_id)
    return fail(a,
                make_error(errc::bad_argument,
                           "give --keep-id (the original is gone: this is it, moved) or --new-id "
                           "(both live on: this copy begins anew)"));
  auto paths = state_of(a);
  if (!paths) return fail(a, paths.err());
  if (!std::filesystem::exists(paths->root))
    return fail(a, make_error(errc::file_not_found, paths->root.string()));
  paths = made_state(a);
  if (!paths) return fail(a, paths.err());
  auto lock = storage::state_lock::acquire(*paths);
  if (!lock) return fail(a, lock.err());
  auto bound = storage::look_at_install(*paths);
  if (!bound && bound.err().code != errc::copied_state) return fail(a, bound.err());
  if (bound && new_id)
    return fail(a, make_error(errc::bad_argument,
                              paths->root.string() + " belongs here already: it is no copy"));
  auto word = storage::leave_word(paths->root, "STATE_REBOUND", new_id ? "new id" : "same id");
  if (!word) return fail(a, word.err());
  storage::disowned closed;
  if (new_id) {
    auto now =
        std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
    auto done = storage::disown_open_runs(paths->database(), now);
    if (!done) return fail(a, done.err());
    closed = *done;
    forget_host(*paths);
  }
  // A restored backup brings an old count of daemons, which living sandboxes would refuse.
  if (!bound && keep_id)
    if (auto done = storage::leave_room(paths->database()); !done) {
      storage::take_back(*word);
      return fail(a, done.err());
    }
  auto id = bound ? storage::install_id(*paths)
                  : storage::rebind_install(*paths, keep_id ? storage::rebind::keep_id
                                                            : storage::rebind::new_id);
  if (!id) {
    if (keep_id) storage::take_back(*word); // with --new-id runs may be closed by now
    return fail(a, id.err());
  }
  if (a.json_mode) {
    print_json({{"install", *id},
                {"closed_swarms", closed.swarms},
                {"closed_sandboxes", closed.sandboxes}});
    return 0;
  }
  print_line(paths->root.string() + " is " + *id + " and belongs here.");
  if (closed.swarms > 0)
    print_line(count_text(closed.swarms, "swarm", "swarms") + " with "
               + count_text(closed.sandboxes, "sandbox", "sandboxes")
               + " closed as lost: they are the original's.");
  return 0;
}

} // namespace

void add_db(CLI::App& cli, app& a) {
  auto* group = cli.add_subcommand("db", "Look at, upgrade and back up the database");
  group->require_subcommand(1);
  add_command(*group, a, "status", "Show schema versions and backups", "  skep db status --json",
              [&a] { return schema_status(a); });
  add_command(*group, a, "migrate", "Upgrade the schema, after a backup", "  skep db migrate",
              [&a] { return migrate(a); });
  auto to = std::make_shared<int>(0);
  auto* down = add_command(*group, a, "rollback", "Go back to an older schema, after a backup",
                           "  skep db rollback --to 1", [&a, to] { return rollback(a, *to); });
  down->add_option("--to", *to, "Version to go back to, 1 or above")->required();
  auto keep = std::make_shared<bool>(false);
  auto fresh = std::make_shared<bool>(false);
  auto* bind =
      add_command(*group, a, "rebind", "Bind a moved or copied state directory to this place",
                  "  skep db rebind --keep-id\n  skep db rebind --new-id",
                  [&a, keep, fresh] { return rebind(a, *keep, *fresh); });
  bind->add_flag("--keep-id", *keep,
                 "The original is gone (moved, restored): go on with its sandboxes");
  bind->add_flag("--new-id", *fresh,
                 "The original lives on: leave its sandboxes to it, close its runs here as lost");
  auto file = std::make_shared<std::string>();
  auto* copy =
      add_command(*group, a, "backup", "Copy the database, also while skepd runs",
                  "  skep db backup /backups/skep.db", [&a, file] { return backup(a, *file); });
  copy->add_option("FILE", *file, "Where to; must not exist")->required();
}

} // namespace skep::cli
