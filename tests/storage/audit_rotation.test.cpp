// Files of the audit log that have a number: what a power cut leaves of them, and that none is ever
// replaced.
#include "storage/audit_verify.hpp"
#include "tests/storage/audit_support.hpp"

#include <algorithm>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

constexpr std::uint64_t small_files = 1500;

journal open_small(const temp_dir& dir) {
  return open_journal(dir / "skep.db", audited_options(dir, small_files));
}

void check_whole(const temp_dir& dir, std::uint64_t lines) {
  auto v = verify_audit(dir / "skep.db", std::chrono::milliseconds{0});
  REQUIRE(v.ok());
  CHECK(v->lines == lines);
  for (const auto& f : v->findings)
    CHECK(f.text == "");
}

} // namespace

TEST_CASE(
    "an older file of the audit log whose end a power cut tore is cut at its last whole line, "
    "and what is missing is written again") {
  temp_dir dir;
  {
    auto j = open_small(dir);
    begin_story(j);
    spend(j, 20);
  }
  check_whole(dir, 24);
  const auto files = audit_files(dir.path());
  REQUIRE(files.size() > 3);
  const auto first = text_of_file(files.front());
  const auto& torn = files[files.size() - 2];
  const auto good = text_of_file(torn);
  const auto before_last = good.rfind('\n', good.size() - 2) + 1;
  REQUIRE(before_last > 0);
  std::size_t missing = 1; // lines of the torn file
  SECTION("in the middle of its last line, with the newest file as it was") {
    write_file_text(torn, good.substr(0, good.size() - 40));
  }
  SECTION("in the middle of its last line, with an empty newest file") {
    write_file_text(torn, good.substr(0, good.size() - 40));
    write_file_text(files.back(), "");
  }
  SECTION("in the middle of its last line, without a newest file") {
    write_file_text(torn, good.substr(0, good.size() - 40));
    fs::remove(files.back());
  }
  SECTION("with zeros in the place of its last line") {
    write_file_text(torn, good.substr(0, before_last) + std::string(good.size() - before_last, 0));
  }
  SECTION("to nothing") {
    missing = static_cast<std::size_t>(std::count(good.begin(), good.end(), '\n'));
    write_file_text(torn, "");
  }
  SECTION("to zeros") {
    missing = static_cast<std::size_t>(std::count(good.begin(), good.end(), '\n'));
    write_file_text(torn, std::string(good.size(), 0));
  }
  {
    auto j = open_small(dir);
    auto repaired = j.audit()->repaired();
    CHECK(repaired.problem.starts_with("the end of an older file was not whole"));
    CHECK(repaired.lines >= missing);
    check_whole(dir, 24);
    CHECK(text_of_file(files.front()) == first);
    spend(j, 20); // beyond more than one further file
  }
  check_whole(dir, 44);
  CHECK(text_of_file(files.front()) == first);
  auto j = open_small(dir);
  CHECK(j.audit()->repaired().line == 0);
}

TEST_CASE("lines of an older file of the audit log that somebody changed at its end are kept as "
          "evidence") {
  temp_dir dir;
  {
    auto j = open_small(dir);
    begin_story(j);
    spend(j, 20);
  }
  const auto files = audit_files(dir.path());
  REQUIRE(files.size() > 3);
  const auto& changed = files[files.size() - 2];
  const auto evil = text_of_file(changed) + "of somebody\n";
  write_file_text(changed, evil);
  auto j = open_small(dir);
  auto evidence = j.audit()->repaired().evidence;
  REQUIRE(evidence.find(',') == std::string::npos); // the newest file follows as it did
  REQUIRE_FALSE(evidence.empty());
  CHECK(text_of_file(dir.path() / evidence) == evil);
  check_whole(dir, 24);
}

TEST_CASE("a file of the audit log never takes the place of one that is there") {
  temp_dir dir;
  auto j = open_small(dir);
  begin_story(j);
  const auto taken = dir / "audit-000000000001.jsonl";
  write_file_text(taken, "of somebody");
  spend(j, 20);
  CHECK(text_of_file(taken) == "of somebody");
  CHECK(fs::file_size(dir / "audit.jsonl") > 2 * small_files);
  CHECK_FALSE(j.audit()->failure());
  fs::remove(taken);
  spend(j, 1);
  CHECK(fs::file_size(taken) > 2 * small_files);
  check_whole(dir, 25);
}
