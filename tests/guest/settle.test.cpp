// After a setup in the uploaded tree: what it changed, and what git ignores of it.
#include "tests/guest/guest.hpp"

#include <filesystem>
#include <fstream>

using namespace skep;
using namespace skep::test;

namespace {

std::string text_of(const std::string& path) {
  std::ifstream in{path};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// What was uploaded, with its base.
struct base_tree : temp {
  std::string work = *this / "work";
  std::string base;

  base_tree() {
    put(work + "/.gitignore", "deps/\n*.log\n");
    put(work + "/package.json", "{}\n");
    auto made = test::guest({"base", "--repo", work});
    REQUIRE(made.exit_code == 0);
    base = made.j["commit"];
  }
  json settle() const {
    auto a = test::guest({"settle", "--repo", work});
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    return a.j;
  }
  std::string tree(const std::string& name, const std::string& from,
                   std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"worktree", "--repo",     work,     "--name", name,
                                   "--dest",   *this / name, "--base", from};
    words.insert(words.end(), more.begin(), more.end());
    auto made = test::guest(words);
    INFO(made.text);
    REQUIRE(made.exit_code == 0);
    return *this / name;
  }
};

} // namespace

TEST_CASE("a setup that changed nothing leaves the base as it is") {
  base_tree t;
  CHECK(t.settle() == json({{"commit", t.base}, {"changed", false}}));
}

TEST_CASE("what a setup changed is the base of every pane, and what git ignores is copied") {
  base_tree t;
  put(t.work + "/deps/a/index.js", "dependency\n");
  std::filesystem::create_directories(t.work + "/deps/a/.bin");
  std::filesystem::create_symlink("../index.js", t.work + "/deps/a/.bin/a");
  put(t.work + "/my setup.log", "ignored\n");
  put(t.work + "/lock.json", "locked\n");
  put(t.work + "/package.json", "{\"changed\":1}\n");
  auto settled = t.settle();
  CHECK(settled["changed"] == true);
  CHECK(settled["commit"] != t.base);
  CHECK(t.settle() == json({{"commit", settled["commit"]}, {"changed", false}}));

  auto with = t.tree("p0", settled["commit"], {"--ignored", "copy"});
  CHECK(text_of(with + "/deps/a/.bin/a") == "dependency\n");
  CHECK(std::filesystem::is_symlink(with + "/deps/a/.bin/a"));
  CHECK(text_of(with + "/my setup.log") == "ignored\n");
  CHECK(text_of(with + "/lock.json") == "locked\n");
  CHECK(text_of(with + "/package.json") == "{\"changed\":1}\n");
  // Nothing of it is the pane's own.
  auto diff = test::guest(
      {"diff", "--tree", with, "--base", settled["commit"], "--name", "p0", "--out", t / "out"});
  CHECK(diff.exit_code == 0);
  CHECK(text_of(t / "out/p0.patch").empty());

  CHECK_FALSE(std::filesystem::exists(t.tree("p1", settled["commit"]) + "/deps"));
}

TEST_CASE("a setup that moved git's HEAD elsewhere changes no more than its files") {
  base_tree t;
  git(t.work, {"checkout", "-q", "-b", "elsewhere"});
  put(t.work + "/more", "committed\n");
  git(t.work, {"add", "-A"});
  git(t.work, {"commit", "-q", "-m", "by the setup"});
  auto settled = t.settle();
  CHECK(settled["changed"] == true);
  CHECK(git(t.work, {"symbolic-ref", "HEAD"}) == "refs/heads/skep/base");
  CHECK(git(t.work, {"rev-parse", "HEAD"}) == settled["commit"].get<std::string>());
  CHECK(git(t.work, {"rev-parse", "HEAD^"}) == t.base);
  CHECK(text_of(t.tree("p0", settled["commit"]) + "/more") == "committed\n");
}
