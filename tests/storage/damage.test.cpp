// A damaged database: what the start sees of it, what the check after the start, and what whoever
// meets it. Every database here counts as a large one, unless the case says otherwise.
#include "storage/damage.hpp"
#include "storage/migrator.hpp"
#include "tests/storage/audit_support.hpp"

#include <atomic>
#include <future>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::chrono::seconds long_enough{60};

/// As for a large database whose check after the start begins at once.
journal_options large_options() {
  auto o = quick_options();
  o.check_at_open_bytes = 0;
  o.check_delay = std::chrono::milliseconds{0};
  return o;
}

/// The same, for a case without that check.
journal_options large_options_without_thread() {
  auto o = large_options();
  o.check_delay = std::chrono::hours{24};
  return o;
}

/// A page of the journal for each note.
void write_notes(journal& j, int count, const std::string& marker = "") {
  for (int i = 0; i < count; ++i)
    REQUIRE(put(j, swarm_no(1), {}, 1, note_of(marker + std::string(3000, 'n'))) == errc::none);
}

/// Overwrites every page in which `marker` stands; answers how many.
int damage_pages_with(const fs::path& file, const std::string& marker) {
  auto data = text_of_file(file);
  int pages = 0;
  for (auto at = data.find(marker); at != data.npos; at = data.find(marker)) {
    data.replace(at / page_bytes * page_bytes, page_bytes, std::string(page_bytes, '\xff'));
    ++pages;
  }
  write_file_text(file, data);
  return pages;
}

/// A journal of `before` and `after` pages around one with "MARK".
void make_journal(const temp_dir& dir, int before, int after) {
  auto j = open_journal(dir / "skep.db");
  write_notes(j, before);
  write_notes(j, 1, "MARK");
  write_notes(j, after);
}

} // namespace

TEST_CASE("damage in a large database is told after the start, and the next start refuses it until "
          "it is sound",
          "[owasp-a08]") {
  temp_dir dir;
  make_journal(dir, 100, 400);
  const auto sound = text_of_file(dir / "skep.db");
  REQUIRE(damage_pages_with(dir / "skep.db", "MARK") > 0);
  std::promise<error> verdict;
  auto told = verdict.get_future();
  auto o = large_options();
  o.checked = [&](const error& found) { verdict.set_value(found); };
  {
    auto j = journal::open(dir / "skep.db", o);
    REQUIRE((j.ok() ? "" : render(j.err())) == "");
    CHECK(j->head() == 501);
    REQUIRE(told.wait_for(long_enough) == std::future_status::ready);
    CHECK(told.get().code == errc::corrupt_database);
  }
  CHECK(text_of_file(dir / "damage").starts_with("corrupt_database"));
  const auto damaged = text_of_file(dir / "skep.db");
  for (int i = 0; i < 2; ++i)
    CHECK(journal::open(dir / "skep.db", large_options()).err().code == errc::corrupt_database);
  CHECK(text_of_file(dir / "skep.db") == damaged); // the evidence is kept

  write_file_text(dir / "skep.db", sound);
  auto whole = journal::open(dir / "skep.db", large_options());
  REQUIRE((whole.ok() ? "" : render(whole.err())) == "");
  CHECK(whole->head() == 501);
  CHECK_FALSE(fs::exists(dir / "damage"));
}

TEST_CASE("a large database that is sound is told as such once, while events are written") {
  temp_dir dir;
  make_journal(dir, 300, 0);
  std::promise<error> verdict; // a second verdict would throw
  auto told = verdict.get_future();
  auto o = large_options();
  o.checked = [&](const error& found) { verdict.set_value(found); };
  auto j = open_journal(dir / "skep.db", o);
  write_notes(j, 100);
  REQUIRE(told.wait_for(long_enough) == std::future_status::ready);
  CHECK(render(told.get()) == render(error{}));
  CHECK(j.head() == 401);
  CHECK_FALSE(fs::exists(dir / "damage"));
}

TEST_CASE("a journal that ends does not wait for the check of its database") {
  temp_dir dir;
  make_journal(dir, 300, 0);
  std::atomic<int> told{0};
  auto o = large_options();
  o.checked = [&](const error&) { ++told; };
  SECTION("before it began") {
    o.check_delay = std::chrono::hours{24};
    CHECK(open_journal(dir / "skep.db", o).head() == 301);
    CHECK(told == 0);
  }
  SECTION("in the middle of it, or behind its end") {
    for (int i = 0; i < 20; ++i)
      CHECK(open_journal(dir / "skep.db", o).head() == 301);
    CHECK(told <= 20);
  }
  CHECK_FALSE(fs::exists(dir / "damage"));
}

TEST_CASE("damage that a start stands on is refused at once, however large the database is",
          "[owasp-a08]") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    write_notes(j, 2); // the oldest event has a page without the mark
    REQUIRE(take_epoch(j, "EPOCHMARK", 1, at(1)).ok());
    write_notes(j, 300);
    auto long_note = std::string(9000, 'n') + "MARK" + std::string(11000, 'n');
    REQUIRE(put(j, swarm_no(1), {}, 1, note_of(long_note)) == errc::none);
    write_notes(j, 20);
  }
  auto size = fs::file_size(dir / "skep.db");
  SECTION("in the body of one of the newest events") {
    REQUIRE(damage_pages_with(dir / "skep.db", "MARK" + std::string(100, 'n')) > 0);
  }
  SECTION("in a small table") {
    REQUIRE(damage_pages_with(dir / "skep.db", "EPOCHMARK") >= 2); // its event, too
  }
  SECTION("in its size") {
    size /= 2;
    fs::resize_file(dir / "skep.db", size);
  }
  auto refused = journal::open(dir / "skep.db", large_options_without_thread());
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::corrupt_database);
  CHECK(fs::file_size(dir / "skep.db") == size);
}

TEST_CASE("every page of a large database is read before its schema is changed") {
  temp_dir dir;
  make_journal(dir, 100, 400);
  migrator schema{dir / "skep.db", dir / "backups"};
  CHECK_FALSE(needs_whole_check(dir / "skep.db", schema, 0));
  CHECK(needs_whole_check(dir / "skep.db", schema, 1u << 30)); // a small one
  auto newest = schema.status()->newest;
  REQUIRE(schema.rollback(newest - 1).ok());
  CHECK(needs_whole_check(dir / "skep.db", schema, 0));
  REQUIRE(damage_pages_with(dir / "skep.db", "MARK") > 0);
  auto refused = journal::open(dir / "skep.db", large_options_without_thread());
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::corrupt_database);
  CHECK(schema.status()->current == newest - 1);
}

TEST_CASE("an event that meets a damaged page breaks the journal, and the next start reads all "
          "pages") {
  temp_dir dir;
  {
    auto j = open_journal(dir / "skep.db");
    write_notes(j, 100);
    auto named = a_swarm();
    named.name = "SWARMMARK";
    REQUIRE(put(j, swarm_no(2), {}, 2, named) == errc::none);
    write_notes(j, 300);
    REQUIRE(put(j, swarm_no(2), {}, 3, note_of("its newest event")) == errc::none);
  }
  REQUIRE(damage_pages_with(dir / "skep.db", "SWARMMARK") >= 2); // its event, too
  {
    auto j = open_journal(dir / "skep.db", large_options_without_thread());
    REQUIRE(j.begin().ok());
    auto c = chunk_of(swarm_no(2), {}, 4, swarm_phase_changed{swarm_phase::running, "go"});
    auto refused = j.append(c);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.err().code == errc::corrupt_database);
    CHECK(j.broken());
    CHECK_FALSE(j.commit().ok());
  }
  CHECK(fs::exists(dir / "damage"));
  CHECK(journal::open(dir / "skep.db", large_options_without_thread()).err().code
        == errc::corrupt_database);
}
