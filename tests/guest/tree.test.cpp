#include "tests/guest/guest.hpp"
#include "transfer/pack.hpp"
#include "transfer/parts.hpp"
#include "transfer/results.hpp"
#include "transfer/summary.hpp"

#include <algorithm>

using namespace skep;
using namespace skep::test;

namespace {

std::string numbered_text(int lines) {
  std::string out;
  for (int i = 0; i < lines; ++i)
    out += "line " + std::to_string(i) + "\n";
  return out;
}

/// The user's repository, and the sandbox's side of it after upload and `base`.
struct uploaded : temp {
  repo user;
  transfer::packed packed;
  std::string work = *this / "work";
  json base;

  explicit uploaded(const std::function<void(const repo&)>& fill) {
    fill(user);
    auto done = transfer::pack_worktree(user.path, *this / "a.tar.zst");
    REQUIRE(done.ok());
    packed = std::move(*done);
    auto a = test::guest({"unpack", "--archive", *this / "a.tar.zst", "--dest", work});
    REQUIRE(a.exit_code == 0);
    CHECK(a.j["manifest_sha256"] == packed.manifest.sha256());
    CHECK(a.j["files"] == packed.manifest.files.size());
    CHECK(a.j["size_bytes"] == packed.manifest.total_bytes);
    base = make_base();
  }
  json make_base() {
    std::vector<std::string> arguments{"base", "--repo", work};
    if (packed.clean)
      arguments.insert(arguments.end(),
                       {"--head", packed.head, "--head-pack", packed.head_pack_path});
    auto a = test::guest(arguments);
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    return a.j;
  }
  std::string pane(const std::string& name) {
    auto dest = *this / name;
    auto a = test::guest(
        {"worktree", "--repo", work, "--name", name, "--dest", dest, "--base", base["commit"]});
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    CHECK(a.j["branch"] == "skep/" + name);
    CHECK(a.j["commit"] == base["commit"]);
    return dest;
  }
  transfer::diff_summary diff(const std::string& name, std::vector<std::string> more = {}) {
    std::vector<std::string> words{"diff",   "--tree", *this / name, "--base",     base["commit"],
                                   "--name", name,     "--out",      *this / "out"};
    words.insert(words.end(), more.begin(), more.end());
    auto a = test::guest(words);
    INFO(a.text);
    REQUIRE(a.exit_code == 0);
    auto s = transfer::parse_diff_summary(a.text);
    REQUIRE(s.ok());
    return *s;
  }
  std::string patch(const std::string& name) const { return *this / ("out/" + name + ".patch"); }
  /// Applies the patch to a copy of what was uploaded and compares with the pane's tree.
  void check_patch(const std::string& name) {
    auto copy = *this / ("copy-" + name);
    transfer::unpack_limits limits;
    limits.outward_links = true;
    REQUIRE(transfer::unpack_archive(*this / "a.tar.zst", copy, limits).ok());
    git(copy, {"init", "-q"});
    git(copy, {"apply", "--check", patch(name)});
    git(copy, {"apply", patch(name)});
    std::filesystem::remove_all(copy + "/.git");
    std::filesystem::remove_all(*this / name + "/.git");
    auto got = transfer::manifest_of(copy), want = transfer::manifest_of(*this / name);
    REQUIRE((got.ok() && want.ok()));
    CHECK(got->sha256() == want->sha256());
  }
};

} // namespace

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

TEST_CASE("repositories that an agent committed are named, and all else comes back") {
  uploaded u{[](const repo& r) {
    r.put("a", "x\n");
    r.commit();
  }};
  auto tree = u.pane("p0");
  git(tree, {"init", "-q", "inner"});
  put(tree + "/inner/file", "x\n");
  git(tree + "/inner", {"add", "-A"});
  git(tree + "/inner", {"commit", "-q", "-m", "inner"});
  put(tree + "/a", "changed\n");
  git(tree, {"add", "-A"});
  git(tree, {"commit", "-q", "-m", "with a repository inside"});
  auto s = u.diff("p0");
  CHECK(s.nested == std::vector<std::string>{"inner"});
  CHECK(s.modified == std::vector<std::string>{"a"});
  CHECK(s.added.empty());
  CHECK(get(u.patch("p0")).find("Subproject") == std::string::npos);
}

TEST_CASE("names that git apply cannot read in some form of a patch come back all the same") {
  uploaded u{[](const repo& r) {
    r.put("back\\slash/50%.c", numbered_text(20));
    r.put("trail /d", std::string("bin\0ary", 7));
    r.put(" lead/empty", "");
    r.put("mode ", "x\n", 0755);
    r.commit();
  }};
  auto tree = u.pane("p0");
  std::filesystem::create_directories(tree + "/ lead");
  std::filesystem::rename(tree + "/back\\slash/50%.c", tree + "/ lead/trail ");
  std::filesystem::remove_all(tree + "/trail ");
  std::filesystem::remove(tree + "/ lead/empty");
  ::chmod((tree + "/mode ").c_str(), 0644);
  auto s = u.diff("p0");
  CHECK(s.deleted == std::vector<std::string>{" lead/empty", "trail /d"});
  u.check_patch("p0");
}

TEST_CASE("changes of all kinds come back, uncommitted ones too") {
  uploaded u{[](const repo& r) {
    r.put(".gitignore", "*.o\nbuild/\n");
    for (const char* n : {"mod", "del", "mode", "a b\"c\n\xC3\xA4\xFF", "-dash", "same"})
      r.put(n, std::string{n} + "\n");
    r.put("long name", numbered_text(60));
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/mod", "changed\n");
  put(p0 + "/mode", "mode\n", 0755);
  put(p0 + "/a b\"c\n\xC3\xA4\xFF", "odd\n");
  put(p0 + "/-dash", "-\n");
  put(p0 + "/new/deep/file", std::string("\0\1\2", 3));
  put(p0 + "/x.o", "ignored");
  put(p0 + "/build/out", "ignored");
  std::filesystem::remove(p0 + "/del");
  std::filesystem::rename(p0 + "/long name", p0 + "/renamed\tname");
  std::filesystem::create_symlink("mod", p0 + "/link");
  auto s = u.diff("p0");
  CHECK(s.commits == 1);
  CHECK_FALSE(s.squashed);
  CHECK(s.modified == std::vector<std::string>{"-dash", "a b\"c\n\xC3\xA4\xFF", "mod", "mode"});
  CHECK(s.added == std::vector<std::string>{"link", "new/deep/file"});
  CHECK(s.deleted == std::vector<std::string>{"del"});
  CHECK(s.renamed
        == std::vector<std::pair<std::string, std::string>>{{"long name", "renamed\tname"}});
  CHECK(git(p0, {"log", "-1", "--format=%s|%an"}) == "Uncommitted changes of p0|skep agent");
  CHECK(git(p0, {"status", "--porcelain"}).empty());
  auto again = u.diff("p0");
  CHECK(again.patch_sha256 == s.patch_sha256);
  CHECK(again.commits == 1);
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s);
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(get(u / "host/p0/files/new/deep/file") == std::string("\0\1\2", 3));
  std::filesystem::remove(p0 + "/x.o");
  std::filesystem::remove_all(p0 + "/build");
  u.check_patch("p0");
}

TEST_CASE("copies of changed and of unchanged files are named, each with what it was copied from") {
  auto lines = [](const std::string& word, int n) {
    std::string out;
    for (int i = 0; i < n; ++i)
      out += word + " " + std::to_string(i) + "\n";
    return out;
  };
  uploaded u{[&](const repo& r) {
    r.put("same", lines("same", 40));
    r.put("changed", lines("changed", 50));
    r.put("gone", lines("gone", 30));
    r.put("empty", "");
    std::filesystem::create_symlink("same", r / "link");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/deep/exact", lines("same", 40), 0755);
  put(p0 + "/\xFF odd\n", lines("same", 40));
  std::filesystem::create_symlink("same", p0 + "/link too");
  put(p0 + "/changed", "first\n" + lines("changed", 50));
  put(p0 + "/edited copy", lines("changed", 51));
  put(p0 + "/one", lines("gone", 30));
  put(p0 + "/two", lines("gone", 30));
  std::filesystem::remove(p0 + "/gone");
  put(p0 + "/empty too", "");           // of no file in particular
  put(p0 + "/near", lines("same", 39)); // of an unchanged one only what is the same is looked for
  put(p0 + "/own", "written by hand\n");
  auto s = u.diff("p0");
  using pairs = std::vector<std::pair<std::string, std::string>>;
  CHECK(s.modified == std::vector<std::string>{"changed"});
  CHECK(s.deleted.empty());
  CHECK(s.renamed == pairs{{"gone", "one"}});
  auto copied = s.copied;
  std::sort(copied.begin(), copied.end());
  CHECK(copied
        == pairs{{"changed", "edited copy"},
                 {"gone", "two"},
                 {"link", "link too"},
                 {"same", "deep/exact"},
                 {"same", "\xFF odd\n"}});
  CHECK(s.added == std::vector<std::string>{"empty too", "near", "own"});
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s, {}, {},
                                    u / "a.tar.zst");
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == transfer::patch_origin::proven);
  CHECK(get(u / "host/p0/files/deep/exact") == lines("same", 40));
  u.check_patch("p0");
}

TEST_CASE("several commits come back as a series with authors and messages") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.put("c", numbered_text(9));
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a", "two\n");
  git(p0, {"commit", "-qam", "Second line"});
  git(p0, {"mv", "c", "d"});
  git(p0, {"commit", "-qm", "Rename"});
  put(p0 + "/d", numbered_text(10));
  put(p0 + "/a", "three\n");
  git(p0, {"commit", "-qam", "Third line"});
  auto s = u.diff("p0");
  CHECK(s.commits == 3);
  CHECK_FALSE(s.squashed);
  auto text = get(u.patch("p0"));
  for (const char* part : {"From: Ada <ada@example.org>", "Subject: [PATCH] Second line",
                           "Subject: [PATCH] Third line"})
    CHECK(text.find(part) != text.npos);
  u.check_patch("p0");
}

TEST_CASE("commits that git apply cannot follow one by one give one exact diff") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a", "two\n");
  git(p0, {"commit", "-qam", "Second line"});
  git(p0, {"mv", "a", "b"});
  git(p0, {"commit", "-qm", "Rename what was changed"});
  auto s = u.diff("p0");
  CHECK(s.commits == 2);
  CHECK(s.squashed);
  u.check_patch("p0");
}

TEST_CASE("merges, rewritten history and hostile settings give one exact diff") {
  uploaded u{[](const repo& r) {
    r.put("a", numbered_text(20));
    r.commit();
  }};
  auto p0 = u.pane("p0");
  git(p0, {"checkout", "-q", "-b", "side"});
  put(p0 + "/side", "s\n");
  git(p0, {"add", "."});
  git(p0, {"commit", "-qm", "side"});
  git(p0, {"checkout", "-q", "skep/p0"});
  put(p0 + "/main", "m\n");
  git(p0, {"add", "."});
  git(p0, {"commit", "-qm", "main"});
  git(p0, {"merge", "-q", "--no-ff", "-m", "merge", "side"});
  auto s = u.diff("p0");
  CHECK(s.squashed);
  CHECK(s.commits == 3);
  u.check_patch("p0");

  auto p1 = u.pane("p1");
  git(p1, {"checkout", "-q", "--orphan", "fresh"});
  put(p1 + "/a", "all new\n");
  git(p1, {"add", "."});
  git(p1, {"commit", "-qm", "no parent"});
  for (auto [key, value] : {std::pair{"diff.noprefix", "true"},
                            {"diff.external", "false"},
                            {"core.hooksPath", "/none"},
                            {"commit.gpgSign", "true"},
                            {"format.attach", "x"},
                            {"color.ui", "always"},
                            {"core.fsmonitor", "false-program"}})
    git(p1, {"config", key, value});
  put(p1 + "/left", "over\n");
  put(git(p1, {"rev-parse", "--git-dir"}) + "/index.lock", "stale");
  s = u.diff("p1");
  CHECK(s.squashed);
  CHECK(s.modified == std::vector<std::string>{"a"});
  CHECK(s.added == std::vector<std::string>{"left"});
  u.check_patch("p1");
}

TEST_CASE("a commit message that looks like a patch changes nothing") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.put("b", "b\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a", "two\n");
  git(p0, {"commit", "-qam",
           "Innocent\n\ndiff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +1 @@\n-b\n+evil\n"});
  auto s = u.diff("p0");
  CHECK(s.squashed);
  CHECK(transfer::paths_of_patch(u.patch("p0")).value() == std::vector<std::string>{"a"});
  u.check_patch("p0");
}

TEST_CASE("filters and attributes that an agent sets have no say in what comes back of its tree") {
  uploaded u{[](const repo& r) {
    r.put("m.c", "int main(){return  1;}\n");
    r.put("data.bin", "pointer\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(u.work + "/.git/info/attributes", "* filter=e -diff\n");
  put(p0 + "/.gitattributes", "*.bin filter=lfs diff=lfs -text\n");
  git(p0, {"config", "filter.e.clean", "sed s/EVIL/0/"});
  git(p0, {"config", "filter.lfs.clean", "echo pointer; cat > /dev/null"});
  put(p0 + "/m.c", "int main(){return EVIL;}\n");
  put(p0 + "/data.bin", "what the pointer stands for\n");
  auto s = u.diff("p0");
  CHECK(s.modified == std::vector<std::string>{"data.bin", "m.c"});
  auto patch = get(u.patch("p0"));
  CHECK(patch.find("+int main(){return EVIL;}") != patch.npos);
  CHECK(patch.find("+what the pointer stands for") != patch.npos);
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s, {}, {},
                                    u / "a.tar.zst");
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == transfer::patch_origin::proven);
  CHECK(get(u / "host/p0/files/m.c") == "int main(){return EVIL;}\n");
}

TEST_CASE("a look at a tree whose agent still works finds what changed, and HEAD and index stay") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/b", "committed\n");
  git(p0, {"add", "b"});
  git(p0, {"commit", "-qm", "half"});
  put(p0 + "/a", "two\n");
  put(p0 + "/staged", "x\n");
  git(p0, {"add", "staged"});
  put(p0 + "/untracked", "y\n");
  auto state = [&] {
    return git(p0, {"rev-parse", "HEAD"}) + "\n" + git(p0, {"status", "--porcelain"});
  };
  auto before = state();
  auto s = u.diff("p0", {"--look"});
  CHECK(state() == before);
  CHECK(s.modified == std::vector<std::string>{"a"});
  CHECK(s.added == std::vector<std::string>{"b", "staged", "untracked"});
  auto full = u.diff("p0"); // as it is collected later: the same, and HEAD has all of it
  CHECK(full.patch_bytes > 0);
  CHECK(full.added == s.added);
  CHECK(state() != before);
}

TEST_CASE("no change gives an empty patch") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  auto s = u.diff("p0");
  CHECK(s.commits == 0);
  CHECK(s.empty());
  CHECK(s.patch_bytes == 0);
  CHECK(get(u.patch("p0")).empty());
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s);
  REQUIRE(got.ok());
  CHECK(got->files.files.empty());
  // Made and undone.
  put(p0 + "/a", "two\n");
  git(p0, {"commit", "-qam", "there"});
  put(p0 + "/a", "one\n");
  git(p0, {"commit", "-qam", "and back"});
  s = u.diff("p0");
  CHECK(s.commits == 0);
  CHECK(s.patch_bytes == 0);
}

TEST_CASE("a repository made inside the tree is named, not half brought back") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  git(p0, {"init", "-q", "inner"});
  put(p0 + "/inner/f", "x");
  git(p0 + "/inner", {"add", "."});
  git(p0 + "/inner", {"commit", "-qm", "inside"});
  put(p0 + "/a", "two\n");
  auto s = u.diff("p0");
  CHECK(s.nested == std::vector<std::string>{"inner"});
  CHECK(s.modified == std::vector<std::string>{"a"});
  CHECK(s.added.empty());
}
