// skep db, without a daemon; what changes the state leaves word of it first, for the audit log.
#include "storage/audit_spool.hpp"
#include "storage/connection.hpp"
#include "storage/epoch_file.hpp"
#include "storage/journal.hpp"
#include "tests/cli/program.hpp"
#include "tests/cli/schemas.hpp"
#include "tests/storage/support.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>
#include <regex>
#include <sstream>

using namespace skep;
using namespace skep::cli_test;

namespace {

namespace fs = std::filesystem;

/// "OPERATION subject" of what waits in the spool, in order of its words.
std::vector<std::string> words(const std::string& state) {
  auto found = storage::spooled_words(state);
  REQUIRE(found.ok());
  std::vector<std::string> out;
  for (const auto& x : *found)
    out.push_back(x.what.operation + " " + x.what.subject);
  std::sort(out.begin(), out.end());
  return out;
}

/// In the place of the spool is a file: no word can be left.
void block_spool(const std::string& state) {
  fs::remove_all(state + "/audit-spool");
  write_text(state + "/audit-spool", "in the way");
}

std::size_t files_in(const std::string& folder) {
  auto all = fs::directory_iterator{folder};
  return static_cast<std::size_t>(std::distance(fs::begin(all), fs::end(all)));
}

std::string text_of(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

using strings = std::vector<std::string>;

/// What a hint tells people to type first, as arguments of `skep`.
std::vector<std::string> command_in(std::string_view hint) {
  auto begin = hint.find("`skep ");
  if (begin == hint.npos) return {};
  begin += 6;
  std::vector<std::string> out;
  std::istringstream words{std::string{hint.substr(begin, hint.find('`', begin) - begin)}};
  for (std::string word; words >> word;)
    out.push_back(word);
  return out;
}

/// Everything behind the first page of a file becomes nonsense.
void damage(const std::string& file) {
  constexpr std::streamoff page = 4096;
  auto size = static_cast<std::streamoff>(std::filesystem::file_size(file));
  std::fstream to{file, std::ios::in | std::ios::out | std::ios::binary};
  to.seekp(page);
  to << std::string(static_cast<std::size_t>(size - page), '\xff');
}

/// What the commands of a restore set aside, the oldest first.
strings set_aside_in(const std::string& state) {
  strings out;
  for (const auto& entry : fs::directory_iterator{state}) {
    auto name = entry.path().filename().string();
    if (name.starts_with("skep.db.set-aside-") && !name.ends_with("-wal")
        && !name.ends_with("-shm"))
      out.push_back(entry.path().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// The database becomes one of a newer release.
void make_newer(storage::connection& db, int newest) {
  REQUIRE(
      db.run("INSERT INTO schema_metadata VALUES (?1, 'of tomorrow', 'x', 0)", newest + 1).ok());
}

/// What `skep db status` says to do, done; no daemon runs here.
void restore_as_told(const cli_world& w) {
  auto doc = w.skep({"db", "status", "--json"}).document();
  REQUIRE(doc.is_object());
  REQUIRE_FALSE(doc["restore"].empty());
  for (const auto& c : doc["restore"]) {
    auto line = c.get<std::string>();
    if (line.starts_with("skep ")) continue;
    auto done = run_to_end({"/bin/sh", "-c", line}, w.home);
    INFO(line << ": " << done.err);
    CHECK(done.code == 0);
  }
}

/// Chunks of events; -1 when it cannot be said.
std::int64_t chunks_in(const std::string& database, const storage::open_options& how = {}) {
  auto db = storage::connection::open(database, how);
  if (!db) return -1;
  auto n = db->number("SELECT count(*) FROM chunks", -1);
  return n ? *n : -1;
}

} // namespace

TEST_CASE("a change of the schema leaves its word first: without it nothing is changed, and of one "
          "that failed none stays") {
  cli_world w;
  REQUIRE(w.skep({"db", "migrate"}).code == 0);
  const auto newest = w.skep({"db", "status", "--json"}).document()["newest"].get<int>();
  const auto up = "SCHEMA_MIGRATED 0 to " + std::to_string(newest);
  CHECK(words(w.state) == strings{up});
  REQUIRE(w.skep({"db", "migrate"}).code == 0); // there is nothing to do
  CHECK(w.skep({"db", "rollback", "--to", "99"}).code == info(errc::bad_argument).exit_code);
  CHECK(words(w.state) == strings{up});

  block_spool(w.state);
  auto refused = w.skep({"db", "rollback", "--to", "1", "--json"});
  INFO(refused.out << refused.err);
  CHECK(refused.document()["error"]["code"] == "bad_config");
  CHECK(w.skep({"db", "status", "--json"}).document()["current"] == newest);
  CHECK(files_in(w.state + "/backups") == 0);

  fs::remove(w.state + "/audit-spool");
  auto down = w.skep({"db", "rollback", "--to", "1", "--json"});
  CHECK(down.code == 0);
  CHECK(fs::exists(down.document()["backup"].get<std::string>()));
  const auto rolled = "SCHEMA_ROLLED_BACK " + std::to_string(newest) + " to 1";
  CHECK(words(w.state) == strings{rolled});

  block_spool(w.state);
  CHECK(w.skep({"db", "migrate"}).code == info(errc::bad_config).exit_code);
  CHECK(w.skep({"db", "status", "--json"}).document()["current"] == 1);
}

TEST_CASE("a state directory is bound to its place only when word of it was left, and keeping its "
          "id leaves room for daemons that it has not heard of") {
  cli_world w;
  REQUIRE(w.skep({"db", "migrate"}).code == 0);
  REQUIRE(w.skep({"db", "rebind", "--keep-id"}).code == 0);
  {
    auto j = storage::journal::open(w.state + "/skep.db");
    REQUIRE(j.ok());
    REQUIRE(storage::take_epoch(*j, "1", 5, utc_time{}).value() == 1);
  }
  const auto copy = w.dir.path + "/copy";
  fs::copy(w.state, copy, fs::copy_options::recursive);
  fs::permissions(copy, fs::perms::owner_all);
  w.state = copy;
  const auto bound = text_of(copy + "/install");
  REQUIRE_FALSE(bound.empty());
  for (const auto* how : {"--keep-id", "--new-id"}) {
    INFO(how);
    block_spool(copy);
    CHECK(w.skep({"db", "rebind", how}).code == info(errc::bad_config).exit_code);
    CHECK(text_of(copy + "/install") == bound);
  }
  fs::remove(copy + "/audit-spool");
  CHECK(w.skep({"db", "rebind", "--keep-id"}).code == 0);
  CHECK(words(copy) == strings{"STATE_REBOUND same id"});
  auto j = storage::journal::open(copy + "/skep.db");
  REQUIRE(j.ok());
  CHECK(storage::take_epoch(*j, "1", 5, utc_time{}).value() == storage::epochs_of_room + 2);
}

TEST_CASE("the database is upgraded, shown, copied and rolled back without a daemon") {
  cli_world w;
  auto up = w.skep({"db", "migrate", "--json"});
  INFO(up.out << up.err);
  CHECK(up.code == 0);
  CHECK(up.document()["from"] == 0);
  auto newest = up.document()["to"].get<int>();
  CHECK(newest > 0);
  CHECK(w.skep({"db", "migrate", "--json"}).document()["from"] == newest);
  auto status = w.skep({"db", "status", "--json"});
  CHECK(status.code == 0);
  CHECK(status.document()["current"] == newest);
  auto copy = w.dir.path + "/copy.db";
  CHECK(w.skep({"db", "backup", copy}).code == 0);
  CHECK(std::filesystem::exists(copy));
  CHECK(w.skep({"db", "backup", copy}).code == info(errc::exists).exit_code);
  for (const auto* below : {"0", "-1"}) {
    auto refused = w.skep({"db", "rollback", std::string{"--to="} + below, "--json"});
    INFO(refused.out << refused.err);
    CHECK(refused.document()["error"]["code"] == "out_of_range");
    CHECK(w.skep({"db", "status", "--json"}).document()["current"] == newest);
  }
  auto down = w.skep({"db", "rollback", "--to", "1", "--json"});
  INFO(down.out << down.err);
  CHECK(down.code == 0);
  CHECK(down.document()["to"] == 1);
  CHECK(w.skep({"db", "rollback", "--to", "99"}).code == info(errc::bad_argument).exit_code);
}

namespace {
/// What is set aside has the time of its command in its name.
std::string without_stamps(const std::string& text) {
  return std::regex_replace(text, std::regex{"set-aside-[0-9A-Za-z.]+"}, "set-aside-STAMP");
}
} // namespace

TEST_CASE("the hint of a database that cannot be used leads to its versions, its backups and the "
          "commands that restore one") {
  cli_world w;
  REQUIRE(w.skep({"db", "migrate"}).code == 0);
  const auto newest = w.skep({"db", "status", "--json"}).document()["newest"].get<int>();
  REQUIRE(w.skep({"db", "rollback", "--to", std::to_string(newest - 1)}).code == 0);
  REQUIRE(w.skep({"db", "migrate"}).code == 0); // by now there are two backups
  const auto database = w.state + "/skep.db";
  auto wrong = errc::none;
  std::string shown;
  SECTION("a newer schema, with a backup of its own") {
    auto db = storage::connection::open(database);
    REQUIRE(db.ok());
    make_newer(*db, newest);
    write_text(w.state + "/backups/skep.db.backup-999-29991231T000000.000Z", "of tomorrow");
    wrong = errc::schema_mismatch;
    shown =
        "schema " + std::to_string(newest + 1) + ", this release knows " + std::to_string(newest);
  }
  SECTION("damaged pages") {
    damage(database);
    wrong = errc::corrupt_database;
    shown = ", this release knows " + std::to_string(newest);
  }
  SECTION("no database at all") {
    write_text(database, std::string(8192, 'x'));
    wrong = errc::corrupt_database;
    shown = "schema cannot be read";
  }
  auto told = command_in(info(wrong).hint);
  REQUIRE(told == std::vector<std::string>{"db", "status"});
  auto text = w.skep(told);
  told.push_back("--json");
  auto machine = w.skep(told);
  INFO(text.out << text.err << machine.out);
  CHECK(text.code == info(wrong).exit_code);
  CHECK(text.out.find(shown) != std::string::npos);
  CHECK(text.err.find(std::string{to_string(wrong)} + ": ") != std::string::npos);
  CHECK(machine.code == info(wrong).exit_code);
  auto doc = machine.document();
  REQUIRE(doc.is_object());
  CHECK(mismatch(all_schemas().at("db-status"), doc) == "");
  CHECK(doc["error"]["code"] == to_string(wrong));
  CHECK(doc["backups"].size() >= 2);
  for (const auto& b : doc["backups"])
    CHECK(text.out.find("backup " + b.get<std::string>() + "\n") != std::string::npos);
  REQUIRE_FALSE(doc["restore"].empty());
  for (const auto& c : doc["restore"]) {
    auto line = c.get<std::string>();
    CHECK(without_stamps(text.out).find("  " + without_stamps(line) + "\n") != std::string::npos);
    if (line.starts_with("skep ")) continue; // no daemon runs here
    auto done = run_to_end({"/bin/sh", "-c", line}, w.home);
    INFO(line << ": " << done.err);
    CHECK(done.code == 0);
  }
  // What it costs is said beside the commands, and not among those that a program would carry out.
  CHECK(text.out.find("Sandboxes younger than that backup are orphans to it: within a minute of "
                      "the last command they are killed, with their work. Before it, `skep db "
                      "migrate` and `skep recover --plan --ask` show them (kill_orphan).\n")
        != std::string::npos);
  CHECK(machine.out.find("orphans") == std::string::npos);
  auto after = w.skep({"db", "status", "--json"});
  CHECK(after.code == 0);
  CHECK_FALSE(after.document().contains("error"));
  CHECK(after.document()["restore"].empty());
  CHECK(set_aside_in(w.state).size() == 1);
  CHECK(w.skep({"db", "migrate"}).code == 0);
}

TEST_CASE("what a restore sets aside holds the newest events of a daemon that was killed, and a "
          "second restore takes nothing of it away") {
  namespace stories = storage::testing;
  cli_world w;
  REQUIRE(w.skep({"db", "migrate"}).code == 0);
  const auto newest = w.skep({"db", "status", "--json"}).document()["newest"].get<int>();
  REQUIRE(w.skep({"db", "rollback", "--to", std::to_string(newest - 1)}).code == 0);
  REQUIRE(w.skep({"db", "migrate"}).code == 0); // by now there are two backups
  const auto database = w.state + "/skep.db";
  const auto killed = w.dir.path + "/killed", log_of_killed = w.dir.path + "/log-of-killed";
  {
    auto j = stories::open_journal(database);
    REQUIRE(stories::put(j, stories::swarm_no(1), {}, 1000, stories::a_swarm()) == errc::none);
    auto db = storage::connection::open(database);
    REQUIRE(db.ok());
    make_newer(*db, newest);
    fs::copy_file(database, killed); // before its end moves the log into it
    fs::copy_file(database + "-wal", log_of_killed);
  }
  storage::open_options alone;
  alone.read_only = alone.unchanging = true;
  REQUIRE(chunks_in(killed, alone) == 0); // the event is in the log and nowhere else
  fs::copy_file(killed, database, fs::copy_options::overwrite_existing);
  fs::copy_file(log_of_killed, database + "-wal", fs::copy_options::overwrite_existing);

  restore_as_told(w);
  const auto first = set_aside_in(w.state);
  REQUIRE(first.size() == 1);
  CHECK(chunks_in(first[0]) == 1);
  CHECK(chunks_in(database) == 0);

  {
    auto db = storage::connection::open(database);
    REQUIRE(db.ok());
    REQUIRE(db->run("DELETE FROM schema_metadata WHERE version >= ?1", newest).ok());
    REQUIRE(db->run("INSERT INTO schema_metadata VALUES (?1, 'of tomorrow', 'x', 0)", newest).ok());
  }
  restore_as_told(w);
  const auto both = set_aside_in(w.state);
  REQUIRE(both.size() == 2);
  CHECK(both[0] == first[0]);
  CHECK(chunks_in(both[0]) == 1);
  CHECK(w.skep({"db", "migrate"}).code == 0);
}
