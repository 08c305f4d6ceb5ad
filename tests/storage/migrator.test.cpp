#include "storage/migrator.hpp"
#include "storage/reader.hpp"
#include "tests/storage/support.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <sqlite3.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

/// All tables, indexes and views with their SQL, and all rows: equal dumps are equal databases.
std::string dump(const fs::path& file) {
  auto db = connection::open(file);
  REQUIRE(db.ok());
  std::string out;
  std::vector<std::string> tables;
  auto q = db->prepare("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL "
                       "ORDER BY type, name");
  REQUIRE(q.ok());
  while (q->step().value()) {
    out += q->text(0) + " " + q->text(1) + " " + q->text(2) + "\n";
    if (q->text(0) == "table" && q->text(1) != "schema_metadata") tables.push_back(q->text(1));
  }
  for (const auto& t : tables) {
    auto rows = db->prepare("SELECT * FROM " + t + " ORDER BY 1");
    REQUIRE(rows.ok());
    auto columns = db->number("SELECT count(*) FROM pragma_table_info(?1)", 0, t).value();
    while (rows->step().value())
      for (int i = 0; i < columns; ++i)
        out += t + "|" + rows->blob(i) + "\n";
  }
  return out;
}

const std::vector<migration> two_tables = {
    {1, "one", "CREATE TABLE one (x INTEGER)", "DROP TABLE one", "c1", {}},
    {2, "two", "CREATE TABLE two (x INTEGER)", "DROP TABLE two", "c2", {}},
};

} // namespace

TEST_CASE("a fresh database lands at the newest version and migrating twice is migrating once") {
  temp_dir dir;
  migrator m{dir / "skep.db", dir / "backups"};
  CHECK(m.status().err().code == errc::file_not_found);
  auto first = m.migrate();
  REQUIRE(first.ok());
  CHECK(first->from == 0);
  CHECK(first->to == static_cast<int>(builtin_migrations().size()));
  CHECK(first->backup.empty());
  auto before = dump(dir / "skep.db");
  auto second = m.migrate();
  REQUIRE(second.ok());
  CHECK(second->from == second->to);
  CHECK(dump(dir / "skep.db") == before);
  auto status = m.status();
  REQUIRE(status.ok());
  CHECK(status->current == status->newest);
  REQUIRE(status->applied.size() >= 3);
  CHECK(status->applied[1].name == "state_tables");
  CHECK(status->applied[1].checksum.size() == 64 + 1 + 64);
}

TEST_CASE("down and up again leaves schema and data equal") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    REQUIRE(take_epoch(j, "1", 5, at(1)).ok());
    begin_story(j);
    REQUIRE(put(j, {}, {}, 50, command_accepted{"k", "run", "f", {"r"}, at(90)}) == errc::none);
  }
  auto before = dump(dir / "skep.db");
  migrator m{dir / "skep.db", dir / "backups"};
  auto newest = static_cast<int>(builtin_migrations().size());
  for (int to = newest - 1; to >= 1; --to) {
    INFO("down to " << to);
    auto down = m.rollback(to);
    REQUIRE(down.ok());
    CHECK(down->to == to);
    CHECK(fs::exists(down->backup));
    CHECK(m.status()->current == to);
    CHECK(dump(dir / "skep.db") != before);
    auto up = m.migrate();
    REQUIRE(up.ok());
    CHECK(up->to == newest);
    CHECK(fs::exists(up->backup));
    CHECK(dump(dir / "skep.db") == before);
  }
  auto backups = m.status()->backups;
  CHECK(backups.size() == 2 * static_cast<std::size_t>(newest - 1));
  // The backup that was made before the first way down is the whole database.
  auto prefix = "skep.db.backup-" + std::to_string(newest) + "-";
  CHECK(backups.front().filename().string().starts_with(prefix));
  CHECK(dump(backups.front()) == before);
  // All the way: an empty database, which goes up again.
  REQUIRE(m.rollback(0).ok());
  REQUIRE(m.migrate().ok());
  CHECK(m.rollback(newest).err().code == errc::bad_argument);
  CHECK(m.rollback(-1).err().code == errc::bad_argument);
}

TEST_CASE("state tables are not made from a journal whose beginning is gone") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    begin_story(j);
  }
  migrator m{dir / "skep.db", dir / "backups"};
  REQUIRE(m.rollback(1).ok());
  {
    auto db = connection::open(dir / "skep.db");
    REQUIRE(db.ok());
    REQUIRE(db->run("DELETE FROM chunks WHERE first_seq = 1").ok());
  }
  CHECK(m.migrate().err().code == errc::compacted);
  CHECK(m.status()->current == 1);
}

TEST_CASE("a journal opens an older database by upgrading it after a backup") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    begin_story(j);
  }
  auto before = dump(dir / "skep.db");
  migrator m{dir / "skep.db", dir / "backups"};
  REQUIRE(m.rollback(1).ok());
  auto j = open_journal(dir / "skep.db");
  CHECK(dump(dir / "skep.db") == before);
  auto backups = m.status()->backups;
  CHECK(backups.back().filename().string().starts_with("skep.db.backup-1-"));
}

TEST_CASE("a newer or changed schema is refused in words", "[owasp-a08]") {
  temp_dir dir;
  migrator newer{dir / "a.db", dir / "backups", two_tables};
  REQUIRE(newer.migrate().ok());
  std::vector<migration> older{two_tables[0]};
  auto refused = migrator{dir / "a.db", dir / "backups", older}.migrate();
  REQUIRE(!refused.ok());
  CHECK(refused.err().code == errc::schema_mismatch);
  CHECK(refused.err().message.find("schema version 2, this program knows 1") != std::string::npos);
  auto changed = two_tables;
  changed[1].checksum = "other";
  refused = migrator{dir / "a.db", dir / "backups", changed}.migrate();
  REQUIRE(!refused.ok());
  CHECK(refused.err().code == errc::schema_mismatch);
  CHECK(migrator(dir / "a.db", dir / "backups", changed).status().err().code
        == errc::schema_mismatch);
}

TEST_CASE("what is wrong with a database is shown beside its versions and the backups that serve") {
  temp_dir dir;
  migrator m{dir / "a.db", dir / "backups", two_tables};
  CHECK(m.look()->problem.code == errc::file_not_found);
  REQUIRE(m.migrate().ok());
  CHECK_FALSE(m.look()->problem);
  CHECK(m.usable_backup(*m.look()).empty());
  REQUIRE(m.rollback(1).ok()); // leaves a copy of version 2
  REQUIRE(m.migrate().ok());   // and one of version 1
  auto sound = m.look();
  REQUIRE(sound.ok());
  CHECK_FALSE(sound->problem);
  REQUIRE(sound->backups.size() == 2);
  CHECK(m.usable_backup(*sound) == sound->backups.back());
  auto is_old = [](const fs::path& p) {
    return p.filename().string().starts_with("a.db.backup-1-");
  };
  auto copy = std::find_if(sound->backups.begin(), sound->backups.end(), is_old);
  REQUIRE(copy != sound->backups.end());

  std::vector<migration> older{two_tables[0]};
  migrator old{dir / "a.db", dir / "backups", older};
  auto newer = old.look();
  REQUIRE(newer.ok());
  CHECK(newer->problem.code == errc::schema_mismatch);
  CHECK(newer->current == 2);
  CHECK(newer->newest == 1);
  CHECK(newer->applied.size() == 2);
  CHECK(newer->backups == sound->backups);
  CHECK(old.usable_backup(*newer) == *copy);
  std::erase_if(newer->backups, is_old);
  CHECK(old.usable_backup(*newer).empty());

  // A page of the last table: what the versions stand in can be read.
  {
    auto db = connection::open(dir / "a.db");
    REQUIRE(db.ok());
    REQUIRE(db->execute("INSERT INTO two VALUES (1), (2), (3);").ok());
  }
  constexpr std::streamoff page = 4096;
  {
    std::fstream file{dir / "a.db", std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(-page, std::ios::end);
    file << std::string(static_cast<std::size_t>(page), '\xff');
  }
  auto damaged = m.look();
  REQUIRE(damaged.ok());
  CHECK(damaged->problem.code == errc::corrupt_database);
  CHECK(damaged->current == 2);
  CHECK(damaged->applied.size() == 2);
  CHECK(damaged->backups == sound->backups);
}

TEST_CASE("faulty SQL leaves the old schema") {
  temp_dir dir;
  auto faulty = two_tables;
  faulty[1].up = "CREATE TABLE two (x INTEGER); INSERT INTO one VALUES (1); SELEKT 1;";
  migrator m{dir / "a.db", dir / "backups", faulty};
  auto done = m.migrate();
  REQUIRE(!done.ok());
  CHECK(done.err().code == errc::sql);
  CHECK(done.err().message.find("migration 2 (two, up)") != std::string::npos);
  CHECK(m.status()->current == 1);
  auto db = connection::open(dir / "a.db");
  REQUIRE(db.ok());
  CHECK(db->number("SELECT count(*) FROM one", -1).value() == 0);
  CHECK(db->number("SELECT count(*) FROM sqlite_master WHERE name = 'two'", -1).value() == 0);
  // A database with tables and no metadata table is taken on.
  temp_dir other;
  {
    auto old = connection::open(other / "a.db");
    REQUIRE(old.ok());
    REQUIRE(old->execute("CREATE TABLE legacy (x)").ok());
  }
  migrator fresh{other / "a.db", other / "backups", two_tables};
  auto report = fresh.migrate();
  REQUIRE(report.ok());
  CHECK(report->to == 2);
  CHECK(fs::exists(report->backup));
}

TEST_CASE(
    "a database that has tables and no version table gets one, keeps its rows, and lands at the "
    "newest version") {
  temp_dir dir;
  {
    auto old = connection::open(dir / "skep.db");
    REQUIRE(old.ok());
    REQUIRE(old->execute("CREATE TABLE legacy (x TEXT); INSERT INTO legacy VALUES ('kept');").ok());
  }
  migrator m{dir / "skep.db", dir / "backups"};
  auto before = m.status();
  REQUIRE(before.ok());
  CHECK(before->current == 0);
  auto done = m.migrate();
  REQUIRE(done.ok());
  CHECK(done->from == 0);
  CHECK(done->to == m.status()->newest);
  CHECK(fs::exists(done->backup));
  auto db = connection::open(dir / "skep.db");
  REQUIRE(db.ok());
  CHECK(db->number("SELECT count(*) FROM legacy WHERE x = 'kept'", 0).value() == 1);
  CHECK(db->number("SELECT count(*) FROM schema_metadata", 0).value() > 0);
  // It works as a journal.
  auto j = open_journal(dir / "skep.db");
  begin_story(j);
}

TEST_CASE("a crash in the middle of a migration leaves the old schema") {
  temp_dir dir;
  migrator old{dir / "a.db", dir / "backups", two_tables};
  REQUIRE(old.migrate().ok());
  auto before = dump(dir / "a.db");
  auto dying = two_tables;
  dying.push_back({3, "three", "CREATE TABLE three (x); INSERT INTO one VALUES (3);",
                   "DROP TABLE three", "c3", [](connection&) -> result<void> {
                     ::kill(::getpid(), SIGKILL);
                     return {};
                   }});
  auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    static_cast<void>(migrator{dir / "a.db", dir / "backups", dying}.migrate().ok());
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  CHECK(old.status()->current == 2);
  CHECK(dump(dir / "a.db") == before);
  dying.back().after_up = {};
  CHECK(migrator(dir / "a.db", dir / "backups", dying).migrate()->to == 3);
}

TEST_CASE("a backup during writes opens and holds what was committed before it") {
  temp_dir dir;
  auto j = open_journal(dir / "skep.db");
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> committed{0};
  std::thread writer{[&] {
    while (!stop) {
      chunk c;
      pack_event(c.body.data, at(1), note_of("row"));
      c.count = 1;
      if (!j.begin() || !j.append(c) || !j.commit()) return;
      committed = j.head();
      committed.notify_all();
    }
  }};
  committed.wait(0);
  migrator m{dir / "skep.db", dir / "backups"};
  for (int i = 0; i < 5; ++i) {
    auto before = committed.load();
    auto to = dir.path() / ("copy" + std::to_string(i));
    auto done = m.backup(to);
    CHECK(done.ok());
    open_options how;
    how.check = true;
    CHECK(connection::open(to, how).ok());
    auto r = reader::open(to);
    REQUIRE(r.ok());
    CHECK(r->head().value() >= before);
  }
  stop = true;
  writer.join();
  CHECK(m.backup(dir / "copy1").err().code == errc::exists);
  CHECK(migrator(dir / "none.db", dir / "backups").backup(dir / "x").err().code
        == errc::file_not_found);
}
