// `skep-guest changed`: whether a pane's result would hold anything.
#include "tests/guest/guest.hpp"

#include <filesystem>

using namespace skep;
using namespace skep::test;

namespace {

/// A pane's work tree as it starts.
struct pane_tree : temp {
  std::string tree = *this / "p0";
  std::string base;

  pane_tree() {
    auto work = *this / "work";
    put(work + "/.gitignore", "*.log\n");
    put(work + "/a.txt", "one\n");
    put(work + "/run.sh", "true\n");
    auto made = test::guest({"base", "--repo", work});
    REQUIRE(made.exit_code == 0);
    base = made.j["commit"];
    auto added =
        test::guest({"worktree", "--repo", work, "--name", "p0", "--dest", tree, "--base", base});
    REQUIRE(added.exit_code == 0);
  }
  bool changed() const {
    auto a = test::guest({"changed", "--tree", tree, "--base", base});
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    return a.j.at("changed");
  }
  std::string git(std::vector<std::string> words) const {
    words.insert(words.begin(), {"git", "-c", "user.name=a", "-c", "user.email=a@b.invalid"});
    transfer::program p;
    p.argv = std::move(words);
    p.working_dir = tree;
    p.environment = transfer::git_environment();
    auto out = transfer::run_program(p);
    REQUIRE(out.ok());
    INFO(out->err);
    REQUIRE(out->good());
    return out->out;
  }
};

} // namespace

TEST_CASE("a work tree is changed by what its result would hold, committed or not") {
  pane_tree t;
  REQUIRE_FALSE(t.changed());
  SECTION("a file with other bytes") {
    put(t.tree + "/a.txt", "two\n");
  }
  SECTION("of the same size and time") {
    auto at = std::filesystem::last_write_time(t.tree + "/a.txt");
    put(t.tree + "/a.txt", "two\n");
    std::filesystem::last_write_time(t.tree + "/a.txt", at);
  }
  SECTION("a new file") {
    put(t.tree + "/new/b.txt", "b\n");
  }
  SECTION("a file less") {
    std::filesystem::remove(t.tree + "/a.txt");
  }
  SECTION("a file that can be executed now") {
    std::filesystem::permissions(t.tree + "/run.sh", std::filesystem::perms::owner_all);
  }
  SECTION("what was added to the index") {
    put(t.tree + "/b.txt", "b\n");
    t.git({"add", "b.txt"});
  }
  SECTION("a commit") {
    put(t.tree + "/a.txt", "two\n");
    t.git({"commit", "-qam", "two"});
  }
  SECTION("a file that git was told not to look at") {
    t.git({"update-index", "--assume-unchanged", "a.txt"});
    put(t.tree + "/a.txt", "two\n");
  }
  CHECK(t.changed());
}

TEST_CASE("what comes to the same, or stays out of a result, is no change") {
  pane_tree t;
  SECTION("commits that take each other back") {
    put(t.tree + "/a.txt", "two\n");
    t.git({"commit", "-qam", "two"});
    t.git({"revert", "--no-edit", "HEAD"});
  }
  SECTION("an empty commit") {
    t.git({"commit", "-q", "--allow-empty", "-m", "nothing"});
  }
  SECTION("a file written again") {
    std::filesystem::remove(t.tree + "/a.txt");
    put(t.tree + "/a.txt", "one\n");
  }
  SECTION("what git ignores") {
    put(t.tree + "/build.log", "log\n");
  }
  SECTION("a repository of its own") {
    put(t.tree + "/inner/c.txt", "c\n");
    t.git({"init", "-q", "inner"});
  }
  CHECK_FALSE(t.changed());
  CHECK(t.git({"log", "-1", "--format=%P", t.base}) == "\n"); // the base is as it was
}

TEST_CASE("without a base or a repository there is an error, and no answer") {
  pane_tree t;
  auto a = test::guest({"changed", "--tree", t.tree, "--base", "HEAD"});
  CHECK(a.exit_code == 2);
  CHECK(a.j.at("error") == "bad_argument");
  a = test::guest({"changed", "--tree", t.tree, "--base", std::string(40, 'a')});
  CHECK(a.exit_code == 1);
  CHECK(a.j.at("error") == "not_found");
  a = test::guest({"changed", "--tree", t.path, "--base", t.base});
  CHECK(a.exit_code == 1);
  CHECK_FALSE(a.j.contains("changed"));
}
