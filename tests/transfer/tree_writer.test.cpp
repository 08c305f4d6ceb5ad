// What writers into a work tree leave there when they are killed, and who removes it.
#include "transfer/tree_writer.hpp"
#include "tests/transfer/repo.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <iterator>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;
namespace fs = std::filesystem;

namespace {

constexpr const char* stage_mark = "copies-only";

file_entry entry_of(const std::string& content) {
  file_entry e;
  e.type = file_entry::kind::file;
  e.mode = 0644;
  e.size = content.size();
  e.sha256 = sha256_of(content);
  return e;
}

std::vector<std::string> stages(const std::string& root) {
  std::vector<std::string> out;
  for (const auto& x : fs::directory_iterator{root})
    if (x.path().filename().string().starts_with(".skep-apply-"))
      out.push_back(x.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

/// The stage of a writer that staged a file and came to its end without a destructor.
std::string left_by_a_killed_writer(const std::string& root, const std::string& source) {
  auto before = stages(root);
  auto entry = entry_of(get(source));
  auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto writer = tree_writer::open(root);
    bool staged = writer.ok() && writer->stage_write("new", entry, source, seen{}).ok();
    ::_exit(staged ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  std::vector<std::string> left;
  auto after = stages(root);
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(left));
  REQUIRE(left.size() == 1);
  return left[0];
}

} // namespace

TEST_CASE("what a killed apply had staged in the work tree is removed by the next one") {
  temp root, results;
  put(results / "new", "what the agent made\n");
  auto left = left_by_a_killed_writer(root.path, results / "new");
  REQUIRE(get(root / left + "/0") == "what the agent made\n");
  {
    auto next = tree_writer::open(root.path);
    REQUIRE(next.ok());
    auto now = stages(root.path);
    REQUIRE(now.size() == 1);
    CHECK(now[0] != left);
    REQUIRE(
        next->stage_write("new", entry_of("what the agent made\n"), results / "new", seen{}).ok());
    REQUIRE(next->commit().ok());
  }
  CHECK(stages(root.path).empty());
  CHECK(get(root / "new") == "what the agent made\n");
}

TEST_CASE("a stage whose writer lives is left alone, and its writer ends what it began") {
  temp root, results;
  put(results / "new", "one\n");
  put(results / "other", "two\n");
  auto living = tree_writer::open(root.path);
  REQUIRE(living.ok());
  REQUIRE(living->stage_write("new", entry_of("one\n"), results / "new", seen{}).ok());
  auto other = tree_writer::open(root.path);
  REQUIRE(other.ok());
  CHECK(stages(root.path).size() == 2);
  REQUIRE(other->stage_write("other", entry_of("two\n"), results / "other", seen{}).ok());
  REQUIRE(other->commit().ok());
  REQUIRE(living->commit().ok());
  CHECK(get(root / "new") == "one\n");
  CHECK(get(root / "other") == "two\n");
}

TEST_CASE("a stage that may hold the only copy of what lay in the tree is never removed") {
  temp root, results;
  put(results / "new", "what the agent made\n");
  auto left = left_by_a_killed_writer(root.path, results / "new");
  // As commit() leaves it: without its mark, and with what was there before.
  REQUIRE(fs::remove(root / left + "/" + stage_mark));
  put(root / left + "/0", "the user's own\n");
  REQUIRE(tree_writer::open(root.path).ok());
  CHECK(stages(root.path) == std::vector{left});
  CHECK(get(root / left + "/0") == "the user's own\n");

  // Names are exchanged in a stage without the mark alone.
  put(root / "in the way", "mine\n");
  auto writer = tree_writer::open(root.path);
  REQUIRE(writer.ok());
  auto now = stages(root.path);
  std::erase(now, left);
  REQUIRE(now.size() == 1);
  auto own = now[0];
  REQUIRE(exists(root / own + "/" + stage_mark));
  auto entry = entry_of("what the agent made\n");
  REQUIRE(writer->stage_write("in the way", entry, results / "new", seen{}).ok());
  auto refused = writer->commit();
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::exists);
  CHECK_FALSE(exists(root / own + "/" + stage_mark));
  CHECK(get(root / "in the way") == "mine\n");
}

TEST_CASE("what only looks like a stage of a killed apply is never removed") {
  temp root, elsewhere;
  const std::vector<std::string> names{".skep-apply-short", ".skep-apply-ABCDEFG",
                                       ".skep-apply-AB.DEF", "skep-apply-ABCDEF",
                                       ".skep-apply-ABCDEF.d"};
  for (const auto& name : names)
    put(root / name + "/" + stage_mark, "");
  put(root / ".skep-apply-FILE00", "a file\n");
  put(root / ".skep-apply-OTHER0/mine", "no mark\n");
  put(elsewhere / stage_mark, "");
  put(elsewhere / "mine", "behind a link\n");
  fs::create_directory_symlink(elsewhere.path, root / ".skep-apply-LINK00");
  REQUIRE(tree_writer::open(root.path).ok());
  for (const auto& name : names) {
    INFO(name);
    CHECK(exists(root / name + "/" + stage_mark));
  }
  CHECK(get(root / ".skep-apply-FILE00") == "a file\n");
  CHECK(get(root / ".skep-apply-OTHER0/mine") == "no mark\n");
  CHECK(fs::is_symlink(root / ".skep-apply-LINK00"));
  CHECK(get(elsewhere / "mine") == "behind a link\n");
}
