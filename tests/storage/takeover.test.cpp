// The epoch file: what a daemon finds beside the database, and what a restored backup cannot take
// back.
#include "storage/epoch_file.hpp"
#include "storage/migrator.hpp"
#include "storage/reader.hpp"
#include "tests/storage/support.hpp"

#include <fstream>
#include <sys/stat.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

struct start {
  std::uint64_t epoch = 0;
  std::uint64_t head = 0;
  std::string stream;
};

/// A daemon that begins, stores an event and dies.
start one_daemon(const temp_dir& dir) {
  auto j = open_journal(dir / "skep.db");
  auto epoch = take_epoch(j, "1", 5, at(1));
  REQUIRE((epoch ? "" : render(epoch.err())) == "");
  REQUIRE(put(j, {}, {}, 2, note_of("work")) == errc::none);
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  CHECK(r->epoch().value() == *epoch);
  CHECK(r->stream_id().value() == j.stream_id()); // what is on disk is what is published
  return {*epoch, j.head(), j.stream_id()};
}

void back_up(const temp_dir& dir) {
  REQUIRE(migrator{dir / "skep.db", dir / "backups"}.backup(dir / "backup.db").ok());
}

/// As docs/operations.md has it.
void restore(const temp_dir& dir) {
  fs::rename(dir / "skep.db", dir / "skep.db.set-aside");
  for (const auto* rest : {"skep.db-wal", "skep.db-shm"})
    fs::remove(dir / rest);
  fs::copy_file(dir / "backup.db", dir / "skep.db");
}

/// Codes of the notices in the journal but for those of the tests' own.
std::vector<std::string> told(const temp_dir& dir) {
  auto r = reader::open(dir / "skep.db");
  REQUIRE(r.ok());
  auto page = r->read_chunks({});
  REQUIRE(page.ok());
  std::vector<std::string> out;
  for (const auto& c : page->chunks) {
    event_reader events{c.body.data};
    for (std::uint32_t i = 0; i < c.count; ++i) {
      auto raw = events.next();
      REQUIRE(raw.ok());
      auto e = interpret(*raw);
      REQUIRE(e.ok());
      if (auto* n = std::get_if<notice>(&*e); n != nullptr && n->code != "test")
        out.push_back(n->code);
    }
  }
  return out;
}

using strings = std::vector<std::string>;

} // namespace

TEST_CASE("after a restored backup the epoch is above all that ran here, and events have a stream "
          "of another name") {
  temp_dir dir;
  auto first = one_daemon(dir);
  CHECK(first.epoch == 1);
  back_up(dir);
  CHECK(one_daemon(dir).epoch == 2);
  auto newest = one_daemon(dir);
  CHECK(newest.epoch == 3);
  CHECK(newest.stream == first.stream);
  CHECK(told(dir).empty());

  restore(dir);
  auto after = one_daemon(dir);
  CHECK(after.epoch == 4);
  CHECK(after.stream != first.stream);
  CHECK(told(dir) == strings{"state_restored"});
  auto next = one_daemon(dir);
  CHECK(next.epoch == 5);
  CHECK(next.stream == after.stream);
  CHECK(told(dir) == strings{"state_restored"});
}

TEST_CASE("a restored backup of the daemon that ran last is known by its file, or by what that one "
          "noted at its end") {
  temp_dir dir;
  auto first = one_daemon(dir);
  back_up(dir);
  {
    auto j = open_journal(dir / "skep.db");
    REQUIRE(put(j, {}, {}, 3, note_of("came after the backup")) == errc::none);
    REQUIRE(note_head(j).ok());
  }
  CHECK(read_epoch_mark(dir / "skep.db")->head == first.head + 1);
  SECTION("another file") {
    restore(dir);
    auto mark = *read_epoch_mark(dir / "skep.db");
    mark.head = first.head; // as if that daemon had been killed
    REQUIRE(write_epoch_mark(dir / "skep.db", mark).ok());
  }
  SECTION("the same file with older content") {
    struct stat before {
    }, now{};
    REQUIRE(::stat((dir / "skep.db").c_str(), &before) == 0);
    fs::copy_file(dir / "backup.db", dir / "skep.db", fs::copy_options::overwrite_existing);
    REQUIRE(::stat((dir / "skep.db").c_str(), &now) == 0);
    REQUIRE(now.st_ino == before.st_ino);
  }
  auto after = one_daemon(dir);
  CHECK(after.epoch == 2);
  CHECK(after.stream != first.stream);
  CHECK(told(dir) == strings{"state_restored"});
}

TEST_CASE("a start without an epoch file goes on by the database, and one that cannot be read or "
          "written is told") {
  temp_dir dir;
  auto first = one_daemon(dir);
  const auto file = epoch_file(dir / "skep.db");
  CHECK(file == dir / "epoch");
  struct stat s {};
  REQUIRE(::stat(file.c_str(), &s) == 0);
  CHECK((s.st_mode & 0777) == 0600);
  fs::remove(file); // a database of an older release
  auto second = one_daemon(dir);
  CHECK(second.epoch == 2);
  CHECK(second.stream == first.stream);
  CHECK(told(dir).empty());

  std::uint64_t epoch = 2;
  strings expected;
  for (const auto* rubbish : {"", "7", "7 1", "7 1 5", "7 1 5\n7 1 5\n", "x 1 5\n", "-7 1 5\n",
                              "9223372036854775807 1 5\n"}) {
    INFO(rubbish);
    std::ofstream{file, std::ios::trunc} << rubbish;
    CHECK(read_epoch_mark(dir / "skep.db").err().code == errc::io);
    auto next = one_daemon(dir);
    CHECK(next.epoch == ++epoch);
    CHECK(next.stream == first.stream);
    expected.push_back("epoch_file");
    CHECK(told(dir) == expected);
    CHECK(read_epoch_mark(dir / "skep.db")->epoch == epoch); // it is whole again
  }
  fs::remove(file);
  fs::create_directory(file);
  auto last = one_daemon(dir);
  CHECK(last.epoch == epoch + 1);
  CHECK(last.stream == first.stream);
  expected.insert(expected.end(), 2, "epoch_file"); // neither read nor written
  CHECK(told(dir) == expected);
}

TEST_CASE("room is left for epochs that a directory which was restored as a whole has not heard "
          "of") {
  temp_dir dir;
  REQUIRE(leave_room(dir / "skep.db").ok());
  CHECK_FALSE(fs::exists(dir / "epoch")); // no daemon ever ran
  auto first = one_daemon(dir);
  SECTION("with its file") {}
  SECTION("without one") {
    fs::remove(dir / "epoch");
  }
  REQUIRE(leave_room(dir / "skep.db").ok());
  auto after = one_daemon(dir);
  CHECK(after.epoch == 1 + epochs_of_room + 1);
  CHECK(after.stream != first.stream);
  CHECK(one_daemon(dir).epoch == after.epoch + 1);
}
