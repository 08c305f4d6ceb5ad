// Power cuts, failing writes and syncs, a full disk: what was acknowledged is there afterwards, and
// nothing was acknowledged before it was synced. SKEP_POWER_SEEDS=N runs N seeds instead of 100.
#include "storage/reader.hpp"
#include "storage/state_tables.hpp"
#include "tests/storage/support.hpp"
#include "tests/support/fault_vfs.hpp"

#include <map>
#include <random>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

std::uint64_t seeds() {
  const char* asked = std::getenv("SKEP_POWER_SEEDS");
  return asked != nullptr ? std::strtoull(asked, nullptr, 10) : 100;
}

/// What a journal has acknowledged: bodies by their first number.
struct promises {
  std::map<std::uint64_t, std::string> bodies;
  std::uint64_t head = 0;
  bool commit_failed = false;
  error first_error;
};

/// A chunk of facts now and then, of notes otherwise.
chunk some_chunk(std::mt19937_64& random, int& swarms) {
  if (random() % 6 == 0) return chunk_of(swarm_no(++swarms), {}, 1, a_swarm());
  auto c =
      chunk_of(swarms > 0 ? swarm_no(1 + static_cast<int>(random() % static_cast<unsigned>(swarms)))
                          : swarm_id{},
               {}, 1);
  for (auto n = 1 + random() % 5; n > 0; --n)
    add(c, 1, note_of(std::string(random() % 2000, 'x')));
  return c;
}

/// Moves the log into the database, as the checkpointer does beside the journal.
void checkpoint(const fs::path& file, bool whole) {
  auto db = connection::open(file);
  if (db.ok())
    static_cast<void>(
        db->execute(whole ? "PRAGMA wal_checkpoint(TRUNCATE)" : "PRAGMA wal_checkpoint(PASSIVE)")
            .ok());
}

/// Writes until the disk fails or `most` commits are acknowledged.
promises write_until_it_fails(const fs::path& file, faulty_disk& disk, std::uint64_t seed,
                              int most = 40) {
  promises out;
  std::mt19937_64 random{seed};
  int swarms = 0;
  auto options = quick_options();
  options.checkpoint_thread = false;
  auto j = journal::open(file, options);
  if (!j) {
    out.first_error = j.err();
    return out;
  }
  for (int commits = 0; commits < most; ++commits) {
    if (random() % 5 == 0) checkpoint(file, random() % 2 == 0);
    if (auto begun = j->begin(); !begun) {
      out.first_error = begun.err();
      return out;
    }
    std::vector<chunk> group;
    auto known = swarms;
    for (auto n = 1 + random() % 4; n > 0; --n) {
      auto c = some_chunk(random, swarms);
      if (auto stored = j->append(c); !stored) {
        if (!out.first_error) out.first_error = stored.err();
        swarms = known;
        continue;
      }
      group.push_back(std::move(c));
    }
    if (auto done = j->commit(); !done) {
      out.commit_failed = true;
      if (!out.first_error) out.first_error = done.err();
      // Final: whether it reached the disk is unknown, and nothing may be tried again.
      CHECK(j->broken());
      CHECK_FALSE(j->begin().ok());
      CHECK_FALSE(j->commit().ok());
      return out;
    }
    // The answer may go out now: everything of the log that it stands on must be synced.
    CHECK(disk.unsynced("-wal") == 0);
    for (auto& c : group)
      out.bodies[c.first_seq] = c.body.data;
    out.head = j->head();
  }
  return out;
}

std::string integrity(const fs::path& file) {
  auto db = connection::open(file);
  if (!db) return render(db.err());
  auto q = db->prepare("PRAGMA integrity_check");
  REQUIRE(q.ok());
  REQUIRE(q->step().ok());
  return q->text(0);
}

std::string rows_of_swarms(connection& db) {
  std::string out;
  auto q =
      db.prepare("SELECT swarm || ' ' || state || ' ' || created_at_ms FROM swarms ORDER BY swarm");
  REQUIRE(q.ok());
  for (auto row = q->step(); row.ok() && *row; row = q->step())
    out += q->text(0) + "\n";
  return out;
}

/// The disk after the fault keeps every promise, is sound, and can be written again.
void check_kept(const fs::path& file, const promises& p) {
  auto j = journal::open(file, quick_options());
  REQUIRE((j.ok() ? "" : render(j.err())) == "");
  CHECK(j->head() >= p.head);
  {
    auto r = reader::open(file);
    REQUIRE(r.ok());
    auto left = p.bodies;
    std::uint64_t expected = 1;
    for (chunk_selector want;;) {
      auto page = r->read_chunks(want);
      REQUIRE(page.ok());
      for (const auto& c : page->chunks) {
        CHECK(c.first_seq == expected);
        expected = c.last_seq() + 1;
        if (auto i = left.find(c.first_seq); i != left.end()) {
          CHECK(i->second == c.body.data);
          left.erase(i);
        }
      }
      if (page->next > page->head) break;
      want.from = page->next;
    }
    CHECK(left.empty());
    CHECK(expected == j->head() + 1);
  }
  {
    auto db = connection::open(file);
    REQUIRE(db.ok());
    auto before = rows_of_swarms(*db);
    auto t = transaction::begin(*db, transaction::kind::write);
    REQUIRE(t.ok());
    REQUIRE(rebuild_state(*db).ok());
    CHECK(rows_of_swarms(*db) == before);
  }
  auto c = chunk_of({}, {}, 1, note_of("after the fault"));
  CHECK(write(*j, c).code == errc::none);
  CHECK(integrity(file) == "ok");
}

/// One seed: what happened, judged. `highest`: the fault comes at a random count up to it.
promises one_seed(fault what, std::uint64_t seed, std::uint64_t highest) {
  INFO("seed " << seed << ", fault " << static_cast<int>(what));
  temp_dir dir;
  auto after_cut = dir / "after";
  promises p;
  {
    std::mt19937_64 random{seed * 4 + static_cast<std::uint64_t>(what)};
    faulty_disk disk{what, 1 + random() % highest, seed};
    p = write_until_it_fails(dir / "skep.db", disk, seed);
    disk.cut();
    disk.survivors(after_cut);
  }
  check_kept(after_cut / "skep.db", p);
  return p;
}

} // namespace

TEST_CASE("a power cut at any write or sync loses no acknowledged event") {
  std::uint64_t acknowledged = 0, failed = 0;
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    auto p = one_seed(fault::power_cut, seed, 600);
    acknowledged += p.head;
    failed += p.first_error.code != errc::none ? 1 : 0;
  }
  CHECK(acknowledged > seeds()); // the cuts are not all at the very beginning
  CHECK(failed > seeds() / 4);   // nor all after the end
}

TEST_CASE("a write that fails is told, final, and loses no acknowledged event") {
  std::uint64_t told = 0;
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed)
    told += one_seed(fault::write_fails, seed, 300).first_error ? 1 : 0;
  CHECK(told > seeds() / 4);
}

TEST_CASE("a sync that fails is told, final, and loses no acknowledged event") {
  std::uint64_t told = 0;
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    auto p = one_seed(fault::sync_fails, seed, 50);
    told += p.commit_failed ? 1 : 0;
    if (p.commit_failed) CHECK(p.first_error.code == errc::io);
  }
  CHECK(told > seeds() / 4);
}

TEST_CASE("a disk that fills up is told as such and loses no acknowledged event") {
  std::uint64_t told = 0;
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed)
    told += one_seed(fault::disk_full, seed, 300).first_error.code == errc::disk_full ? 1 : 0;
  CHECK(told > seeds() / 4);
}

TEST_CASE("the faulty disk forgets what was not synced and nothing else") {
  temp_dir dir;
  promises p;
  fs::path after = dir / "after";
  {
    faulty_disk disk{fault::power_cut, 0, 7};
    p = write_until_it_fails(dir / "skep.db", disk, 7, 10);
    CHECK(disk.operations() > 20);
    CHECK(p.head > 0);
    CHECK_FALSE(disk.happened());
    disk.cut();
    CHECK(disk.happened());
    auto dead = journal::open(dir / "skep.db", quick_options());
    auto c = chunk_of({}, {}, 1, note_of("nothing is written without power"));
    bool wrote = dead.ok() && dead->begin().ok() && dead->append(c).ok() && dead->commit().ok();
    CHECK_FALSE(wrote);
    disk.survivors(after);
  }
  check_kept(after / "skep.db", p);
  // The proof that it can lose something: a database whose owner does not sync is not whole.
  std::uint64_t lost = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    temp_dir other;
    fs::path rest = other / "after";
    {
      faulty_disk disk{fault::power_cut, 0, seed};
      auto db = connection::open(other / "skep.db");
      REQUIRE(db.ok());
      REQUIRE(db->execute("PRAGMA synchronous=OFF; CREATE TABLE t (x); INSERT INTO t VALUES (1);"
                          "INSERT INTO t VALUES (2); INSERT INTO t VALUES (3);")
                  .ok());
      disk.cut();
      disk.survivors(rest);
    }
    auto db = connection::open(rest / "skep.db");
    auto n = db.ok() ? db->number("SELECT count(*) FROM t", 0) : result<std::int64_t>{0};
    lost += !n.ok() || *n != 3 ? 1 : 0;
  }
  CHECK(lost > 10);
}
