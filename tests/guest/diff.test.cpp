// What skep-guest finds of a pane's work: its changes, its commits, the patch.
#include "tests/guest/uploaded.hpp"

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

} // namespace

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
