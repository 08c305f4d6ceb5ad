// What an agent does to its repository and to its files' modes costs no more than it must, and a
// summary is of any length.
#include "tests/guest/uploaded.hpp"
#include "tests/support/memory_as_temp.hpp"
#include "tests/support/skip.hpp"

#include <random>
#include <unistd.h>

using namespace skep;
using namespace skep::test;

namespace {

/// As guest(), without root's right to read everything.
answer ordinary_guest(std::vector<std::string> words) {
  transfer::program p;
  const std::string rights = "-dac_override,-dac_read_search,-fowner";
  if (::geteuid() == 0) p.argv = {"setpriv", "--bounding-set=" + rights, "--inh-caps=" + rights};
  p.argv.push_back(guest_path());
  p.argv.insert(p.argv.end(), words.begin(), words.end());
  p.environment = transfer::git_environment();
  auto out = transfer::run_program(p);
  REQUIRE(out.ok());
  INFO(out->out << out->err);
  return {out->exit_code, json::parse(out->out, nullptr, false), out->out};
}

unsigned mode_of(const std::string& path) {
  struct stat st {};
  REQUIRE(::lstat(path.c_str(), &st) == 0);
  return st.st_mode & 07777;
}

void set_mode(const std::string& path, mode_t mode) {
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

using names = std::vector<std::string>;

/// Bytes that nothing compresses, other ones for each `seed`.
std::string noise(std::size_t bytes, unsigned seed) {
  std::mt19937 random{seed};
  std::string out(bytes, '\0');
  for (auto& c : out)
    c = static_cast<char>(random());
  return out;
}

/// A tree of two commits, so that the base is where a history begins that is not all here.
struct with_history : uploaded {
  with_history()
      : uploaded([](const repo& r) {
          r.put(".gitignore", "*.o\n");
          r.put("a", "one\n");
          r.commit();
          r.put("gone", "x\n");
          r.put("same", "same\n");
          r.commit();
        }) {}
  /// Changes of each kind, not committed.
  void work_in(const std::string& tree) const {
    put(tree + "/a", "two\n");
    put(tree + "/new/file", "n\n");
    put(tree + "/x.o", "ignored");
    std::filesystem::remove(tree + "/gone");
  }
  /// That these changes come back as one diff, which is the same when it is asked for again.
  void check_all_came(const std::string& name) {
    auto s = diff(name);
    CHECK(s.squashed);
    CHECK(s.modified == names{"a"});
    CHECK(s.added == names{"new/file"});
    CHECK(s.deleted == names{"gone"});
    auto again = diff(name);
    CHECK(again.patch_sha256 == s.patch_sha256);
    CHECK(again.no_history == s.no_history);
    auto got = transfer::collect_pane(patch(name), *this / ("out/" + name + ".tar"), *this / "host",
                                      name, again, {}, {}, *this / "a.tar.zst");
    INFO((got ? "" : render(got.err())));
    REQUIRE(got.ok());
    CHECK(got->patch == transfer::patch_origin::proven);
    CHECK(get(*this / ("host/" + name + "/files/new/file")) == "n\n");
    std::filesystem::remove(*this / (name + "/x.o"));
    check_patch(name);
  }
};

} // namespace

TEST_CASE("a summary of more than a mebibyte comes whole, and the answer that names it is short") {
  memory_as_temp quick;
  uploaded u{[](const repo& r) {
    r.put("a", "x\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  constexpr std::size_t many = 4'800;
  for (std::size_t i = 0; i < many; ++i) {
    auto name = std::to_string(i);
    put(p0 + "/many/" + std::string(220 - name.size(), 'n') + name, "");
  }
  auto a = test::guest(u.diff_words("p0"));
  REQUIRE(a.exit_code == 0);
  CHECK(a.text.size() < 300);
  CHECK(a.j["paths"] == many);
  CHECK(a.j["commits"] == 1);
  CHECK(a.j["summary_bytes"] > 1'048'576);
  auto s = u.summary("p0", a);
  CHECK(s.added.size() == many);
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s);
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->files.files.size() == many);
}

TEST_CASE("files and folders that an agent made unreadable come back, and no mode with them") {
  with_history u;
  auto p0 = u.pane("p0");
  u.work_in(p0);
  set_mode(p0 + "/a", 0);
  set_mode(p0 + "/same", 0);
  set_mode(p0 + "/x.o", 0);
  set_mode(p0 + "/new/file", 0);
  set_mode(p0 + "/new", 0);
  auto s = u.summary("p0", ordinary_guest(u.diff_words("p0")));
  set_mode(p0 + "/new", 0755);
  CHECK(s.unreadable.empty());
  CHECK(s.modified == names{"a"});
  CHECK(s.added == names{"new/file"});
  CHECK(s.deleted == names{"gone"});
  CHECK(get(u.patch("p0")).find(" mode 100755") == std::string::npos);
  CHECK(get(u.patch("p0")).find("old mode") == std::string::npos);
  CHECK(mode_of(p0 + "/same") == 0400);
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s, {}, {},
                                    u / "a.tar.zst");
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == transfer::patch_origin::proven);
  CHECK(get(u / "host/p0/files/a") == "two\n");
  CHECK(get(u / "host/p0/files/new/file") == "n\n");
}

TEST_CASE("what a look cannot read keeps its mode, and is named and left as it was") {
  uploaded u{[](const repo& r) {
    r.put(".gitignore", "*.o\n");
    r.put("a", "one\n");
    r.put("b", "one\n");
    r.put("dir/x", "one\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a", "committed\n");
  put(p0 + "/:(odd)*", "committed\n");
  put(p0 + "/dir/y", "committed\n");
  git(p0, {"add", "-A"});
  git(p0, {"commit", "-q", "-m", "work"});
  put(p0 + "/b", "two\n");
  put(p0 + "/x.o", "ignored");
  for (const char* path : {"a", ":(odd)*", "x.o", "dir"})
    set_mode(p0 + "/" + path, 0);
  auto words = u.diff_words("p0");
  words.push_back("--look");
  auto s = u.summary("p0", ordinary_guest(words));
  CHECK(mode_of(p0 + "/a") == 0);
  CHECK(mode_of(p0 + "/dir") == 0);
  set_mode(p0 + "/dir", 0755);
  CHECK(s.unreadable == names{":(odd)*", "a", "dir"});
  CHECK(s.modified == names{"b"});
  CHECK(s.added.empty());
  CHECK(s.deleted.empty());
  CHECK(s.squashed);
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s, {}, {},
                                    u / "a.tar.zst");
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == transfer::patch_origin::proven);
  // When the agent is over, all of it.
  s = u.summary("p0", ordinary_guest(u.diff_words("p0")));
  CHECK(s.unreadable.empty());
  CHECK(s.modified == names{"a", "b"});
  CHECK(s.added == names{":(odd)*", "dir/y"});
}

TEST_CASE("a file of somebody else that cannot be read costs its pane that file alone") {
  if (::geteuid() != 0) SKEP_SKIP("only root gives files away");
  with_history u;
  auto p0 = u.pane("p0");
  u.work_in(p0);
  put(p0 + "/foreign", "secret\n", 0600);
  REQUIRE(::chown((p0 + "/foreign").c_str(), 65534, 65534) == 0);
  auto s = u.summary("p0", ordinary_guest(u.diff_words("p0")));
  CHECK(mode_of(p0 + "/foreign") == 0600);
  CHECK(s.unreadable == names{"foreign"});
  CHECK(s.modified == names{"a"});
  CHECK(s.added == names{"new/file"});
  CHECK(s.deleted == names{"gone"});
}

TEST_CASE("files too large for a patch stay inside by name, and all else comes back") {
  bool committed = GENERATE(false, true);
  uploaded u{[](const repo& r) {
    r.put("a.c", "one\n");
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a.c", "two\n");
  put(p0 + "/data/huge", noise(300'000, 1));
  put(p0 + "/data/big", noise(200'000, 2));
  put(p0 + "/data/small", noise(20'000, 3));
  if (committed) {
    git(p0, {"add", "-A"});
    git(p0, {"commit", "-q", "-m", "work"});
  }
  const names few{"--patched-bytes", "100000"};
  auto s = u.diff("p0", few);
  CHECK(s.too_large == names{"data/big", "data/huge"});
  CHECK(s.modified == names{"a.c"});
  CHECK(s.added == names{"data/small"});
  CHECK(s.commits == 1);
  CHECK(s.squashed);
  CHECK(s.patch_bytes < 100'000 * 13 / 10);
  auto again = u.diff("p0", few);
  CHECK(again.patch_sha256 == s.patch_sha256);
  CHECK(again.too_large == s.too_large);
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", again, {},
                                    {}, u / "a.tar.zst");
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == transfer::patch_origin::proven);
  CHECK(get(u / "host/p0/files/a.c") == "two\n");
  CHECK(get(u / "host/p0/files/data/small") == noise(20'000, 3));
  CHECK_FALSE(exists(u / "host/p0/files/data/huge"));
  // No more of them than it takes.
  CHECK(u.diff("p0", {"--patched-bytes", "300000"}).too_large == names{"data/huge"});
  // They still lie inside, and with room all of it comes.
  s = u.diff("p0");
  CHECK(s.too_large.empty());
  CHECK(s.added == names{"data/big", "data/huge", "data/small"});
  CHECK_FALSE(s.squashed);
}

TEST_CASE("a file that is too large to be changed or deleted in a patch stays as it was") {
  uploaded u{[](const repo& r) {
    r.put("a", "one\n");
    r.put("model", noise(200'000, 1));
    r.put("moved", noise(200'000, 2));
    r.put("old", noise(200'000, 3));
    r.put("place", noise(200'000, 4));
    r.commit();
  }};
  auto p0 = u.pane("p0");
  put(p0 + "/a", "two\n");
  put(p0 + "/model", noise(200'000, 5));
  std::filesystem::rename(p0 + "/moved", p0 + "/here");
  std::filesystem::remove(p0 + "/old");
  std::filesystem::remove(p0 + "/place");
  put(p0 + "/place/x", "x\n");
  auto s = u.diff("p0", {"--patched-bytes", "100000"});
  CHECK(s.too_large == names{"model", "old"});
  CHECK(s.modified == names{"a"});
  CHECK(s.renamed == std::vector<std::pair<std::string, std::string>>{{"moved", "here"}});
  // With the file back, there would be no place for what is below it now.
  CHECK(s.deleted == names{"place"});
  CHECK(s.added == names{"place/x"});
  auto got = transfer::collect_pane(u.patch("p0"), u / "out/p0.tar", u / "host", "p0", s, {}, {},
                                    u / "a.tar.zst");
  INFO((got ? "" : render(got.err())));
  REQUIRE(got.ok());
  CHECK(got->patch == transfer::patch_origin::proven);
  CHECK(get(u / "host/p0/files/place/x") == "x\n");
}

TEST_CASE("a repository that an agent made anew in its tree costs its history alone") {
  auto kind = GENERATE(as<std::string>{}, "sha1", "sha256");
  with_history u;
  auto p0 = u.pane("p0");
  u.work_in(p0);
  std::filesystem::remove(p0 + "/.git");
  git(p0, {"init", "-q", "--object-format=" + kind});
  SECTION("without a commit") {
    u.diff("p0");
    CHECK(git(p0, {"for-each-ref"}).empty());
    CHECK(u.diff("p0").no_history);
  }
  SECTION("with commits of its own") {
    std::filesystem::rename(p0 + "/new/file", p0 + "/later");
    git(p0, {"add", "-A"});
    git(p0, {"commit", "-q", "-m", "all of it"});
    std::filesystem::rename(p0 + "/later", p0 + "/new/file");
    auto head = git(p0, {"rev-parse", "HEAD"});
    CHECK(u.diff("p0").no_history == (kind == "sha256")); // names of objects that say nothing here
    CHECK(git(p0, {"rev-parse", "HEAD"}) == head);
  }
  u.check_all_came("p0");
}

TEST_CASE("a branch without a commit, and a tree without a repository, come back by their files") {
  with_history u;
  auto p0 = u.pane("p0");
  SECTION("a branch that is yet to be born") {
    git(p0, {"checkout", "-q", "--orphan", "fresh"});
    u.work_in(p0);
  }
  SECTION("no repository, and another one around it") {
    std::filesystem::remove(p0 + "/.git");
    git(u.path, {"init", "-q"});
    git(u.path, {"commit", "-q", "--allow-empty", "-m", "around"});
    u.work_in(p0);
  }
  SECTION("a repository that is none") {
    put(p0 + "/.git", "gitdir: /nowhere\n");
    u.work_in(p0);
  }
  CHECK(u.diff("p0").no_history);
  u.check_all_came("p0");
  if (exists(u / ".git")) CHECK(git(u.path, {"rev-list", "--all", "--count"}) == "1");
}

TEST_CASE("where the base itself is gone, the error says what was to be compared with it") {
  with_history u;
  std::filesystem::remove_all(u.work + "/.git");
  git(u.work, {"init", "-q"});
  auto a = test::guest({"diff", "--tree", u.work, "--base", u.base["commit"], "--name", "sandbox-0",
                        "--out", u / "out", "--repo", u.work});
  CHECK(a.exit_code == 1);
  CHECK(a.j["error"] == "not_found");
  CHECK(a.j["message"]
        == "the base commit " + u.base["commit"].get<std::string>()
               + ": the repository that held it was replaced or removed, so that there is nothing "
                 "to compare "
               + std::filesystem::canonical(u.work).string() + " with");
  CHECK_FALSE(exists(u / "out/sandbox-0.json"));
}
