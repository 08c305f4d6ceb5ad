#include "host/posix.hpp"
#include "host/state.hpp"
#include "tests/envd/raw_http.hpp"
#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>

using namespace skep;
using namespace skep::host;
using skep::test::temp_dir;

TEST_CASE("a tree that a sandbox made nasty is removed, and links out of it are not followed") {
  temp_dir dir;
  auto kept = dir / "kept";
  std::ofstream{kept} << "x";
  auto tree = dir / "tree";
  std::filesystem::create_directories(tree + "/closed/inner/deeper");
  std::ofstream{tree + "/closed/inner/file"} << "x";
  std::filesystem::create_directories(tree + "/.gone0/.gone1/.gone2");
  std::filesystem::create_directories(tree + "/a/.gone0/x");
  std::ofstream{tree + "/.gone3"} << "x";
  std::filesystem::create_symlink(dir.path(), tree + "/out");
  std::filesystem::create_symlink(dir.path(), tree + "/closed/out");
  ::chmod((tree + "/closed/inner").c_str(), 0);
  ::chmod((tree + "/closed").c_str(), 0500);
  // Deeper than any path name may be long.
  auto base = open_dir(AT_FDCWD, tree);
  REQUIRE(base);
  auto at = std::move(*base);
  for (int i = 0; i < 600; ++i) {
    REQUIRE(make_dir(at.get(), "a-directory-with-a-name", 0700));
    auto next = open_dir(at.get(), "a-directory-with-a-name");
    REQUIRE(next);
    at = std::move(*next);
  }
  auto parent = open_dir(AT_FDCWD, dir.path());
  REQUIRE(parent);
  auto removed = remove_tree(parent->get(), "tree");
  INFO((removed ? std::string{} : removed.err().message));
  CHECK(removed);
  CHECK_FALSE(std::filesystem::exists(tree));
  CHECK(std::filesystem::exists(kept));
  CHECK(remove_tree(parent->get(), "tree"));
}

TEST_CASE("a holder's claim keeps the sweeper away until the holder is gone") {
  temp_dir dir;
  auto state = open_state(dir / "st");
  REQUIRE(state);
  const auto tree = std::filesystem::path{dir / "st"} / "sandboxes" / "iabc" / "tree";
  std::filesystem::create_directories(tree);
  std::ofstream{tree / "not committed"} << "half done\n";
  {
    auto claim = claim_holder(*state, "iabc");
    REQUIRE(claim);
    CHECK(claim_holder(*state, "iabc").err().code == errc::exists);
    CHECK(sweep_holder(*state, "iabc") == sweep_outcome::alive);
    CHECK(std::filesystem::file_size(tree / "not committed") == 10);
    CHECK(list_holders(*state) == std::vector<std::string>{"iabc"});
  }
  CHECK(sweep_holder(*state, "iabc") == sweep_outcome::swept);
  CHECK_FALSE(std::filesystem::exists(tree));
  CHECK(list_holders(*state).empty());
}

TEST_CASE("one host serves a state directory") {
  temp_dir dir;
  auto state = open_state(dir / "st");
  REQUIRE(state);
  auto first = lock_state(*state);
  REQUIRE(first);
  auto second = lock_state(*state);
  REQUIRE_FALSE(second);
  CHECK(second.err().code == errc::exists);
}
