#include "host/posix.hpp"
#include "host/ready_file.hpp"
#include "host/state.hpp"
#include "tests/envd/raw_http.hpp"
#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

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

TEST_CASE("a link that somebody put at the name beside a file is not written through",
          "[owasp-a01]") {
  temp_dir dir;
  auto canary = dir / "canary";
  std::ofstream{canary} << "sings";
  auto file = dir / "ready.json";
  auto beside = file + ".tmp" + std::to_string(::getpid());
  std::filesystem::create_symlink(canary, beside);
  std::filesystem::create_symlink(canary, file);
  REQUIRE(write_file_atomic(file, "{}\n", 0644));
  CHECK(read_file(canary, 100).value() == "sings");
  CHECK(read_file(file, 100).value() == "{}\n");
  CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(file)));
  CHECK_FALSE(std::filesystem::exists(std::filesystem::symlink_status(beside)));
}

TEST_CASE("the file that leads to a host is touched once it is told to, and not before") {
  temp_dir dir;
  auto file = dir / "ready.json";
  std::ofstream{file} << "of another host";
  auto ready = ready_file::prepare(file);
  REQUIRE(ready);
  CHECK(read_file(file, 100).value() == "of another host");
  REQUIRE(ready->clear());
  CHECK_FALSE(std::filesystem::exists(file));
  REQUIRE(ready->write("ours\n"));
  CHECK(read_file(file, 100).value() == "ours\n");
  ready->remove();
  CHECK_FALSE(std::filesystem::exists(file));

  auto nowhere = ready_file::prepare(dir / "missing/ready.json");
  REQUIRE(nowhere);
  REQUIRE(nowhere->clear()); // nothing is there
  auto failed = nowhere->write("ours\n");
  REQUIRE_FALSE(failed);
  CHECK(failed.err().code == errc::io);
  CHECK(failed.err().message.find("missing/ready.json.tmp") != std::string::npos);
}
