// skep db: what changes the state without skepd leaves word of it first, for the audit log.
#include "storage/audit_spool.hpp"
#include "storage/epoch_file.hpp"
#include "storage/journal.hpp"
#include "tests/cli/program.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>

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
