// What skep-guest makes of an upload: the tree, its base, the panes' work trees.
#include "tests/guest/uploaded.hpp"
#include "transfer/parts.hpp"

#include <algorithm>

using namespace skep;
using namespace skep::test;

TEST_CASE("verify is exact") {
  temp t;
  put(t / "d/a", "text");
  put(t / "d/b/c", "more");
  auto digest = transfer::manifest_of(t / "d")->sha256();
  auto verify = [&] {
    return test::guest({"verify", "--dest", t / "d", "--manifest-sha256", digest});
  };
  CHECK(verify().exit_code == 0);
  CHECK(verify().j["verified"] == true);
  put(t / "d/a", "texT");
  CHECK(verify().exit_code == 1);
  CHECK(verify().j["error"] == "verification");
  put(t / "d/a", "text");
  put(t / "d/extra", "");
  CHECK(verify().exit_code == 1);
  std::filesystem::remove(t / "d/extra");
  std::filesystem::remove(t / "d/b/c");
  CHECK(verify().exit_code == 1);
}

TEST_CASE("HEAD itself is the base of a clean work tree") {
  uploaded u{[](const repo& r) {
    r.put("old", "x");
    r.commit("the first");
    r.put("a", "one\n");
    r.put("run", "#!/bin/sh\n", 0755);
    r.put(".gitignore", "*.o\n");
    r.put("d/x.o", "tracked though ignored");
    git(r.path, {"add", "-f", "d/x.o"});
    r.commit("the second");
  }};
  CHECK(u.packed.clean);
  CHECK(u.base["is_head"] == true);
  CHECK(u.base["commit"] == u.packed.head);
  CHECK(git(u.work, {"status", "--porcelain", "--ignored"}).empty());
  CHECK(git(u.work, {"log", "--format=%s"}) == "the second");
  CHECK(u.make_base() == u.base); // again: the same
}

TEST_CASE("the base is a commit of exactly what was uploaded when the work tree was not clean") {
  uploaded u{[](const repo& r) {
    r.put(".gitignore", "*.log\n/sub/\n");
    r.put(".gitattributes", "* text=auto eol=crlf\n*.bin filter=none-such\n");
    r.put("tracked.log", "ignored but tracked");
    r.put("sub/also", "the same");
    git(r.path, {"add", "-f", "."});
    r.commit();
    r.put("crlf", "a\r\nb\r\n");
    r.put("lf", "a\nb\n");
    r.put("x.bin", std::string("\0\r\n\xFF", 4));
    r.put("weird \"n\"\nname\xFF", "x", 0755);
    std::filesystem::create_symlink("/etc/hostname", r / "absolute");
  }};
  CHECK(u.base["is_head"] == false);
  CHECK(git(u.work, {"status", "--porcelain", "--ignored"}).empty());
  CHECK(git(u.work, {"log", "--format=%an <%ae>"}) == "skep <skep@localhost>");
  CHECK(transfer::manifest_of(u.work)->sha256() == u.packed.manifest.sha256());
  // What git hands out again is the same to the byte.
  auto p0 = u.pane("p0");
  std::filesystem::remove(p0 + "/.git");
  CHECK(transfer::manifest_of(p0)->sha256() == u.packed.manifest.sha256());
  CHECK(u.make_base() == u.base);
}

TEST_CASE("a base of HEAD falls back when the files are not its tree") {
  repo r;
  temp t;
  r.put("a", "x");
  r.commit();
  auto packed = transfer::pack_worktree(r.path, t / "a");
  REQUIRE(packed.ok());
  REQUIRE(packed->clean);
  put(t / "work/a", "other");
  auto a = test::guest({"base", "--repo", t / "work", "--head", packed->head, "--head-pack",
                        packed->head_pack_path});
  REQUIRE(a.exit_code == 0);
  CHECK(a.j["is_head"] == false);
  CHECK(git(t / "work", {"rev-list", "--count", "HEAD"}) == "1");
  CHECK(git(t / "work", {"status", "--porcelain"}).empty());
  CHECK(test::guest({"base", "--repo", t / "work", "--head", "--upload-pack=x"}).exit_code == 2);
}

TEST_CASE("an archive and a pack that came in parts are the same tree and the same base") {
  repo r;
  temp t;
  std::string much; // does not compress
  for (std::uint64_t x = 1; much.size() < 200'000;
       x = x * 6364136223846793005u + 1442695040888963407u)
    much += static_cast<char>(x >> 56);
  r.put("a", much);
  r.put("b", "small\n");
  r.commit();
  auto packed = transfer::pack_worktree(r.path, t / "a.tar");
  REQUIRE(packed.ok());
  REQUIRE(packed->clean);
  auto split = [&](const std::string& file, const std::string& name) {
    std::vector<std::string> out;
    auto content = transfer::read_file(file, 1u << 30).value();
    std::filesystem::create_directories(t / "in");
    auto parts = transfer::parts_of(file, 65'536).value();
    REQUIRE(parts.size() == 4);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      out.push_back(t / ("in/" + transfer::part_name(name, i)));
      put(out.back(), content.substr(parts[i].offset, parts[i].bytes));
    }
    auto listing = test::guest({"parts", "--dir", t / "in"});
    std::size_t found = 0;
    for (const auto& x : listing.j["parts"])
      for (std::size_t i = 0; i < parts.size(); ++i)
        if (x["name"] == transfer::part_name(name, i))
          found += x["sha256"] == parts[i].sha256 && x["size_bytes"] == parts[i].bytes;
    CHECK(found == parts.size());
    return out;
  };
  std::vector<std::string> unpack{"unpack", "--dest", t / "work"};
  for (const auto& part : split(t / "a.tar", "worktree.tar"))
    unpack.insert(unpack.end(), {"--archive", part});
  auto a = test::guest(unpack);
  INFO(a.text);
  REQUIRE(a.exit_code == 0);
  CHECK(a.j["manifest_sha256"] == packed->manifest.sha256());
  std::vector<std::string> base{"base", "--repo", t / "work", "--head", packed->head};
  for (const auto& part : split(packed->head_pack_path, "head.pack"))
    base.insert(base.end(), {"--head-pack", part});
  auto b = test::guest(base);
  INFO(b.text);
  REQUIRE(b.exit_code == 0);
  CHECK(b.j["is_head"] == true);
  CHECK(b.j["commit"] == packed->head);
  CHECK(test::guest({"parts", "--dir", t / "none"}).j["parts"].empty());
  // A part that is missing is said by its name.
  auto cut = test::guest({"unpack", "--archive", t / "in/worktree.tar.00001", "--archive",
                          t / "in/worktree.tar.00009", "--dest", t / "again"});
  CHECK(cut.exit_code == 1);
  CHECK(cut.j["error"] == "file_not_found");
}

TEST_CASE("each pane has a work tree and a branch, made once, with the given identity") {
  uploaded u{[](const repo& r) {
    r.put("a", "x");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a", "changed");
  CHECK(u.pane("p0") == p0);
  CHECK(get(p0 + "/a") == "changed");
  auto a = test::guest({"worktree", "--repo", u.work, "--name", "p1", "--dest", u / "p1", "--base",
                        u.base["commit"]},
                       "", {"SKEP_GIT_NAME=Bo", "SKEP_GIT_EMAIL=bo@example.org"});
  CHECK(a.exit_code == 0);
  CHECK(get(u / "p1/a") == "x");
  CHECK(git(u / "p1", {"config", "user.email"}) == "bo@example.org");
  for (const char* bad : {"a/b", "..", "base", "a b", ""})
    CHECK(test::guest({"worktree", "--repo", u.work, "--name", bad, "--dest", u / "bad", "--base",
                       u.base["commit"]})
              .exit_code
          != 0);
  CHECK_FALSE(exists(u / "bad"));
}

TEST_CASE("a work tree with uncommitted work, and a branch with commits, are never made anew") {
  uploaded u{[](const repo& r) {
    r.put("a", "x\n");
    r.commit();
  }};
  auto tree = u.pane("p0");
  put(tree + "/a", "not committed\n");
  put(tree + "/new", "untracked\n");
  u.pane("p0"); // a lost answer
  CHECK(get(tree + "/a") == "not committed\n");
  CHECK(get(tree + "/new") == "untracked\n");
  auto again = [&](const std::string& name, const std::string& dest) {
    return test::guest(
        {"worktree", "--repo", u.work, "--name", name, "--dest", dest, "--base", u.base["commit"]});
  };
  // Another pane in the same place would share it.
  CHECK(again("p1", tree).j["error"] == "exists");
  CHECK(get(tree + "/new") == "untracked\n");
  git(tree, {"add", "-A"});
  git(tree, {"commit", "-q", "-m", "work"});
  auto tip = git(tree, {"rev-parse", "HEAD"});
  std::filesystem::remove_all(tree);
  CHECK(again("p0", tree).j["error"] == "exists");
  CHECK(git(u.work, {"rev-parse", "skep/p0"}) == tip);
}

TEST_CASE("the work tree of an agent that lives is left alone while others are made") {
  uploaded u{[](const repo& r) {
    r.put("a", "x\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/new", "not committed\n");
  git(p0, {"add", "new"});
  // An agent that packs its tree, or tries another repository in it, has its `.git` elsewhere for a
  // while: to git the tree is gone.
  std::filesystem::rename(p0 + "/.git", u / "aside");
  auto p1 = u.pane("p1");
  std::filesystem::rename(u / "aside", p0 + "/.git");
  CHECK(git(p0, {"status", "--porcelain"}) == "A  new");
  CHECK(git(p0, {"rev-parse", "--abbrev-ref", "HEAD"}) == "skep/p0");
  // What a call that was cut off left of a tree is no obstacle, and nobody else's.
  std::filesystem::remove_all(p1);
  std::filesystem::create_directories(p1);
  CHECK(u.pane("p1") == p1);
  CHECK(get(p1 + "/a") == "x\n");
  CHECK(git(p0, {"status", "--porcelain"}) == "A  new");
  // Nor is a tree made where the files of one lie.
  std::filesystem::rename(p0 + "/.git", u / "aside");
  CHECK(test::guest({"worktree", "--repo", u.work, "--name", "p0", "--dest", p0, "--base",
                     u.base["commit"]})
            .exit_code
        != 0);
  CHECK(get(p0 + "/new") == "not committed\n");
}
