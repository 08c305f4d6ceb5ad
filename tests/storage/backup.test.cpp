// Copies of the database: whole or not there, whatever the disk does, and what is offered as one.
#include "storage/files.hpp"
#include "storage/migrator.hpp"
#include "tests/storage/support.hpp"
#include "tests/support/fault_vfs.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

const std::vector<migration> copied_schema = {
    {1, "one", "CREATE TABLE one (x)", "DROP TABLE one", "c1", {}},
    {2, "two", "CREATE TABLE two (x)", "DROP TABLE two", "c2", {}},
};
constexpr std::int64_t rows_made = 100;

/// A database of some 50 pages.
void make_some_pages(const migrator& m, const fs::path& file) {
  REQUIRE(m.migrate().ok());
  auto db = connection::open(file);
  REQUIRE(db.ok());
  REQUIRE(db->run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) "
                  "INSERT INTO one SELECT zeroblob(2000) FROM n",
                  rows_made)
              .ok());
}

/// Rows of the database, each page of which is read; -1 when it is not sound.
std::int64_t rows_in(const fs::path& file) {
  open_options how;
  how.create = false;
  how.check = true;
  auto db = connection::open(file, how);
  if (!db) return -1;
  auto n = db->number("SELECT count(*) FROM one WHERE length(x) = 2000", -1);
  return n ? *n : -1;
}

/// Names in a directory that are of a copy, finished or not.
std::vector<std::string> copies_in(const fs::path& dir) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator{dir})
    if (auto name = entry.path().filename().string(); name.starts_with("copy")) out.push_back(name);
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace

TEST_CASE("a copy is whole or not there, at whatever write or sync the disk fails") {
  temp_dir dir;
  auto file = dir / "a.db";
  migrator m{file, dir / "backups", copied_schema};
  make_some_pages(m, file);
  constexpr std::uint64_t most = 1000;
  for (auto [what, told] :
       {std::pair{fault::disk_full, errc::disk_full}, std::pair{fault::write_fails, errc::io},
        std::pair{fault::sync_fails, errc::io}}) {
    std::uint64_t failed = 0;
    for (std::uint64_t n = 1;; ++n) {
      INFO("fault " << static_cast<int>(what) << " at " << n);
      REQUIRE(n < most);
      auto to = dir / "copy";
      error e;
      bool happened = false;
      {
        faulty_disk disk{what, n, 1};
        auto done = m.backup(to);
        if (!done) e = done.err();
        happened = disk.happened();
      }
      if (happened) {
        // Nothing that failed was called a success, and nothing of it is left.
        CHECK(e.code == told);
        CHECK(copies_in(dir.path()).empty());
        ++failed;
        continue;
      }
      REQUIRE_FALSE(e);
      CHECK(copies_in(dir.path()) == std::vector<std::string>{"copy"});
      CHECK(rows_in(to) == rows_made);
      fs::remove(to);
      break;
    }
    CHECK(failed >= (what == fault::sync_fails ? 1u : 40u));
  }
}

TEST_CASE("a copy is a private database with a log, as the one that it is of") {
  temp_dir dir;
  // Whatever its name: SQLite is given it as a URI when the copy is checked.
  auto file = dir / "a.db";
  migrator m{file, dir / "backups", copied_schema};
  make_some_pages(m, file);
  auto to = dir / "copy of %41 ?mode=memory#x";
  auto part = to;
  part += ".part";
  for (const auto* suffix : {"", "-wal", "-shm"}) // of an attempt that was cut off
    std::ofstream{part.string() + suffix} << "stale";
  REQUIRE(m.backup(to).ok());
  CHECK(copies_in(dir.path()) == std::vector<std::string>{to.filename().string()});
  CHECK((fs::status(to).permissions() & fs::perms::mask)
        == (fs::perms::owner_read | fs::perms::owner_write));
  std::string header(100, '\0');
  std::ifstream{to, std::ios::binary}.read(header.data(), 100);
  CHECK(header[18] == 2); // the file format that says: with a write-ahead log
  CHECK(header[19] == 2);
  CHECK(rows_in(to) == rows_made);
}

TEST_CASE("a damaged database has no copy that looks like a sound one") {
  temp_dir dir;
  auto file = dir / "a.db";
  migrator m{file, dir / "backups", copied_schema};
  make_some_pages(m, file);
  constexpr std::streamoff page = 4096;
  {
    std::fstream damaged{file, std::ios::in | std::ios::out | std::ios::binary};
    damaged.seekp(-page, std::ios::end);
    damaged << std::string(static_cast<std::size_t>(page), '\xff');
  }
  auto done = m.backup(dir / "copy");
  REQUIRE_FALSE(done.ok());
  CHECK(done.err().code == errc::corrupt_database);
  CHECK(done.err().message.find("the copy of " + file.string() + " is not sound")
        != std::string::npos);
  CHECK(copies_in(dir.path()).empty());
}

TEST_CASE("what an unfinished copy left is not offered as a backup") {
  temp_dir dir;
  migrator m{dir / "a.db", dir / "backups", copied_schema};
  REQUIRE(m.migrate().ok());
  REQUIRE(m.rollback(1).ok());
  auto before = m.look();
  REQUIRE(before.ok());
  REQUIRE(before->backups.size() == 1);
  auto good = before->backups.front();
  // Younger than the good one, by their names.
  for (const auto* name :
       {"a.db.backup-2-29990101T000000.000Z.part", "a.db.backup-2-29990101T000000.000Z.part-wal",
        "a.db.backup-2-29990101T000000.000Z.part-shm", "a.db.backup-2-29990101T000000.000Z-wal"})
    std::ofstream{dir / "backups" / name} << "half";
  auto after = m.look();
  REQUIRE(after.ok());
  CHECK(after->backups == std::vector<fs::path>{good});
  CHECK(m.usable_backup(*after) == good);
  // Also of a list that somebody else made.
  after->backups.push_back(dir / "backups" / "a.db.backup-2-29990101T000000.000Z.part-wal");
  CHECK(m.usable_backup(*after) == good);
}

TEST_CASE("what copies before a migration left that were cut off goes with the next one") {
  temp_dir dir;
  const auto backups = dir / "backups";
  migrator m{dir / "a.db", backups, copied_schema};
  REQUIRE(m.migrate().ok());
  REQUIRE(m.rollback(1).ok());
  const auto kept = m.look().value().backups;
  REQUIRE(kept.size() == 1);
  for (const auto* name :
       {"a.db.backup-1-20200101T000000.000Z.part", "a.db.backup-1-20200101T000000.000Z.part-wal",
        "a.db.backup-1-20210101T000000.000Z-2.part",
        "a.db.backup-1-20210101T000000.000Z-2.part-journal",
        "a.db.backup-1-20210101T000000.000Z-2.part-shm"})
    std::ofstream{backups / name} << "half";
  const auto of_another = backups / "b.db.backup-1-20200101T000000.000Z.part";
  std::ofstream{of_another} << "half";

  auto up = m.migrate();
  REQUIRE(up.ok());
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator{backups})
    found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  std::vector<fs::path> expected{kept.front(), up->backup, of_another};
  std::sort(expected.begin(), expected.end());
  CHECK(found == expected);
}

TEST_CASE("a copy gets its name also where there are no hard links, and never in the place of what "
          "is there") {
  temp_dir dir;
  const auto part = dir / "copy.part";
  const auto to = dir / "copy";
  const auto text = [](const fs::path& file) {
    std::ifstream in{file, std::ios::binary};
    return std::string{std::istreambuf_iterator<char>{in}, {}};
  };
  for (int no_links : {EPERM, EOPNOTSUPP, ENOSYS})
    for (int no_rename : {0, EINVAL, ENOSYS}) {
      INFO("link: " << no_links << ", renameat2: " << no_rename);
      disk_calls calls;
      calls.link = [no_links](const char*, const char*) {
        errno = no_links;
        return -1;
      };
      if (no_rename != 0)
        calls.rename_new = [no_rename](const char*, const char*) {
          errno = no_rename;
          return -1;
        };
      std::ofstream{part} << "whole";
      std::ofstream{to} << "was there";
      auto taken = publish_file(part, to, calls);
      REQUIRE_FALSE(taken.ok());
      CHECK(taken.err().code == errc::exists);
      CHECK(text(to) == "was there");
      CHECK(text(part) == "whole");

      fs::remove(to);
      REQUIRE(publish_file(part, to, calls).ok());
      CHECK(text(to) == "whole");
      CHECK(copies_in(dir.path()) == std::vector<std::string>{"copy"});
      fs::remove(to);
    }
  // What is wrong otherwise is said.
  disk_calls full;
  full.link = [](const char*, const char*) {
    errno = ENOSPC;
    return -1;
  };
  std::ofstream{part} << "whole";
  CHECK(publish_file(part, to, full).err().code == errc::disk_full);
  CHECK(copies_in(dir.path()) == std::vector<std::string>{"copy.part"});
}

TEST_CASE("a directory that cannot be synced at all costs no copy, and one whose sync fails leaves "
          "none") {
  temp_dir dir;
  const auto part = dir / "copy.part";
  const auto to = dir / "copy";
  for (int told : {EINVAL, ENOTSUP, EIO}) {
    INFO("fsync of the directory: " << told);
    disk_calls calls;
    calls.sync_directory = [told](int) {
      errno = told;
      return -1;
    };
    std::ofstream{part} << "whole";
    auto done = publish_file(part, to, calls);
    CHECK(done.ok() == (told != EIO));
    CHECK(fs::exists(to) == (told != EIO));
    if (told == EIO) CHECK(done.err().code == errc::io);
    CHECK_FALSE(fs::exists(part));
    fs::remove(to);
  }
}
