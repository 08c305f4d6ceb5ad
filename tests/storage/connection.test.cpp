#include "storage/checkpointer.hpp"
#include "storage/journal.hpp"
#include "tests/storage/support.hpp"

#include <fstream>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

TEST_CASE("the settings of a connection read back") {
  temp_dir dir;
  auto db = connection::open(dir / "a.db");
  REQUIRE(db.ok());
  auto q = db->prepare("PRAGMA journal_mode");
  REQUIRE(q.ok());
  REQUIRE(q->step().value());
  CHECK(q->text(0) == "wal");
  CHECK(db->number("PRAGMA synchronous", -1).value() == 2);
  CHECK(db->number("PRAGMA foreign_keys", -1).value() == 1);
  CHECK(db->number("PRAGMA busy_timeout", -1).value() == 5000);
  CHECK(db->number("PRAGMA cache_size", 1).value() == -65536);
}

TEST_CASE("values of every type come back from the database") {
  temp_dir dir;
  auto opened = connection::open(dir / "a.db");
  REQUIRE(opened.ok());
  auto& db = *opened;
  REQUIRE(db.execute("CREATE TABLE t (a, b, c, d, e, f, g)").ok());
  std::string odd("a\0b\xff", 4);
  REQUIRE(db.run("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", std::int64_t{-5}, true, 0.25,
                 odd, bytes{odd}, at(1234), phase::running)
              .ok());
  REQUIRE(db.run("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", 0u, false, 0.0,
                 std::string_view{}, bytes{}, utc_time{}, sandbox_no(1))
              .ok());
  auto q = db.prepare("SELECT * FROM t");
  REQUIRE(q.ok());
  REQUIRE(q->step().value());
  std::int64_t a = 0;
  bool b = false;
  double c = 0;
  std::string d;
  bytes e;
  utc_time f;
  phase g{};
  q->read(0, a);
  q->read(1, b);
  q->read(2, c);
  q->read(3, d);
  q->read(4, e);
  q->read(5, f);
  q->read(6, g);
  CHECK(a == -5);
  CHECK(b);
  CHECK(c == 0.25);
  CHECK(d == odd);
  CHECK(e == bytes{odd});
  CHECK(f == at(1234));
  CHECK(g == phase::running);
  REQUIRE(q->step().value());
  q->read(3, d);
  q->read(4, e);
  CHECK(d.empty());
  CHECK(e.data.empty());
  CHECK(q->text(6) == "sb_test1");
  CHECK(db.number("SELECT count(*) FROM t WHERE d IS NULL OR e IS NULL", -1).value() == 0);
}

TEST_CASE("one statement may be used twice at once") {
  temp_dir dir;
  auto opened = connection::open(dir / "a.db");
  REQUIRE(opened.ok());
  auto& db = *opened;
  REQUIRE(db.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)").ok());
  auto outer = db.prepare("SELECT a FROM t");
  int rows = 0;
  while (outer->step().value()) {
    auto inner = db.prepare("SELECT a FROM t");
    while (inner->step().value())
      ++rows;
  }
  CHECK(rows == 4);
}

TEST_CASE("a faulty statement is an error with SQLite's reason") {
  temp_dir dir;
  auto db = connection::open(dir / "a.db");
  REQUIRE(db.ok());
  auto e = db->run("SELEKT 1").err();
  CHECK(e.code == errc::sql);
  CHECK(e.cause.find("syntax error") != std::string::npos);
}

TEST_CASE("a writer waits for another one and gives up after its limit") {
  temp_dir dir;
  auto a = connection::open(dir / "a.db");
  REQUIRE(a.ok());
  REQUIRE(a->execute("CREATE TABLE t (a)").ok());
  open_options impatient;
  impatient.busy_timeout = std::chrono::milliseconds{30};
  auto b = connection::open(dir / "a.db", impatient);
  REQUIRE(b.ok());
  {
    auto held = transaction::begin(*a, transaction::kind::write);
    REQUIRE(held.ok());
    auto refused = transaction::begin(*b, transaction::kind::write);
    REQUIRE(!refused.ok());
    CHECK(refused.err().code == errc::sql);
  }
  // With the usual limit the second one goes on as soon as the first is done.
  auto patient = connection::open(dir / "a.db");
  REQUIRE(patient.ok());
  auto held = transaction::begin(*a, transaction::kind::write);
  REQUIRE(held.ok());
  REQUIRE(a->run("INSERT INTO t VALUES (1)").ok());
  std::atomic<bool> started{false};
  result<void> done;
  std::thread second{[&] {
    started = true;
    started.notify_all();
    done = patient->run("INSERT INTO t VALUES (2)");
  }};
  started.wait(false);
  REQUIRE(held->commit().ok());
  second.join();
  CHECK(done.ok());
  CHECK(a->number("SELECT count(*) FROM t", 0).value() == 2);
}

TEST_CASE("a program that opens the database beside a running journal leaves its log alone") {
  temp_dir dir;
  const auto file = dir / "skep.db";
  { auto j = open_journal(file); }
  // Forked before SQLite knows of the file here: it would take our locks for its own.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::close(ends[1]);
    char go = 0;
    if (::read(ends[0], &go, 1) != 1) ::_exit(2);
    bool right = false;
    { // as `skep db backup` does, or somebody with the program sqlite3
      open_options how;
      how.create = false;
      auto db = connection::open(file, how);
      right = db.ok() && db->number("SELECT count(*) FROM chunks", -1).value() == 1;
    }
    ::_exit(right ? 0 : 1);
  }
  ::close(ends[0]);
  auto o = quick_options();
  o.checkpoint_thread = false;
  auto j = open_journal(file, o);
  REQUIRE(put(j, swarm_no(1), {}, 1, note_of("in the log")) == errc::none);
  REQUIRE(fs::exists(dir / "skep.db-wal"));
  REQUIRE(::write(ends[1], "g", 1) == 1);
  ::close(ends[1]);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(fs::exists(dir / "skep.db-wal"));
  CHECK(fs::exists(dir / "skep.db-shm"));
}

TEST_CASE("a database is never opened through a symlink in its place") {
  temp_dir dir;
  { auto j = open_journal(dir / "real.db"); }
  fs::create_symlink(dir / "real.db", dir / "skep.db");
  auto refused = connection::open(dir / "skep.db");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::io);
}

TEST_CASE("files that are no sound database are refused as corrupt") {
  temp_dir dir;
  std::ofstream{dir / "text.db"} << std::string(5000, 'x');
  auto text = connection::open(dir / "text.db");
  REQUIRE(!text.ok());
  CHECK(text.err().code == errc::corrupt_database);
  CHECK(journal::open(dir / "text.db").err().code == errc::corrupt_database);
  // A database with a page of rubbish in its middle.
  {
    auto j = open_journal(dir / "skep.db");
    for (int i = 0; i < 50; ++i) {
      auto c = chunk_of(swarm_no(1), {}, 1, note_of(std::string(3000, 'n')));
      REQUIRE(write(j, c).code == errc::none);
    }
  }
  auto size = fs::file_size(dir / "skep.db");
  {
    std::fstream f{dir / "skep.db", std::ios::in | std::ios::out | std::ios::binary};
    f.seekp(4096);
    f << std::string(static_cast<std::size_t>(size) - 8192, '\x5a');
  }
  auto damaged = journal::open(dir / "skep.db", quick_options());
  REQUIRE(!damaged.ok());
  CHECK(damaged.err().code == errc::corrupt_database);
  CHECK(fs::file_size(dir / "skep.db") == size); // the evidence is kept
  CHECK(connection::open(dir / "missing" / "a.db").err().code == errc::io);
  open_options reading;
  reading.read_only = true;
  CHECK(connection::open(dir / "none.db", reading).err().code == errc::io);
}

TEST_CASE("the checkpoint thread moves the log into the database and shrinks it when quiet") {
  temp_dir dir;
  auto db = connection::open(dir / "a.db");
  REQUIRE(db.ok());
  REQUIRE(db->execute("PRAGMA wal_autocheckpoint=0; CREATE TABLE t (a)").ok());
  for (int i = 0; i < 200; ++i)
    REQUIRE(db->run("INSERT INTO t VALUES (?1)", std::string(5000, 'z')).ok());
  auto wal = dir / "a.db-wal";
  REQUIRE(fs::file_size(wal) > 1'000'000);
  checkpoint_policy policy;
  policy.period = std::chrono::milliseconds{5};
  policy.quiet_bound_bytes = 100'000;
  auto c = checkpointer::start(dir / "a.db", policy);
  REQUIRE(c.ok());
  (*c)->mark_dirty();
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while ((fs::file_size(wal) > 100'000 || (*c)->runs() < 2)
         && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  CHECK(fs::file_size(wal) == 0);
  CHECK((*c)->runs() >= 2);
  CHECK(fs::file_size(dir / "a.db") > 1'000'000);
  c->reset(); // ends at once, also while it waits
}
