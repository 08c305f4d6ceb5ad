#include "transfer/apply.hpp"
#include "tests/transfer/repo.hpp"
#include "tests/transfer/results_fixture.hpp"
#include "transfer/apply_branch.hpp"
#include "transfer/forge.hpp"

#include <cstdlib>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

using fate = taken_path::what;

fate fate_of(const take_report& r, const std::string& path) {
  for (const auto& p : r.paths)
    if (p.path == path) return p.became;
  FAIL("nothing is said of " << path);
  return fate::unchanged;
}

std::string text_of_lines(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& l : lines)
    out += l + "\n";
  return out;
}

const std::vector<std::string> ten{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
std::string with_line(std::size_t n, const std::string& text) {
  auto lines = ten;
  lines[n] = text;
  return text_of_lines(lines);
}

} // namespace

TEST_CASE("a file that was changed here meanwhile stays, and the agent's version lies beside it") {
  swarm_results w;
  w.user.put("a", text_of_lines(ten));
  w.user.put("sub/b", "old\n");
  w.user.put("gone", "x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("a", with_line(0, "agent"));
    r.put("sub/b", "agent\n");
    r.put("new", "agent\n");
    std::filesystem::remove(r / "gone");
  });
  w.user.put("a", with_line(9, "mine"));
  w.user.put("gone", "still needed\n");
  w.user.put("new", "mine, too\n");
  auto report = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::files, false});
  REQUIRE(report.ok());
  CHECK(report->count(fate::conflict) == 3);
  CHECK(get(w.user / "a") == with_line(9, "mine"));
  CHECK(get(w.user / "a.skep-p0") == with_line(0, "agent"));
  CHECK(get(w.user / "new") == "mine, too\n");
  CHECK(get(w.user / "new.skep-p0") == "agent\n");
  CHECK(get(w.user / "gone") == "still needed\n");
  CHECK(get(w.user / "sub/b") == "agent\n");
  for (const auto& p : report->paths)
    if (p.path == "a") CHECK(p.copy == "a.skep-p0");
  // Again: the same words, and no third copy.
  auto again = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::files, false});
  REQUIRE(again.ok());
  CHECK(fate_of(*again, "sub/b") == fate::unchanged);
  CHECK_FALSE(exists(w.user / "a.skep-p0.2"));
  for (const auto& file : std::filesystem::directory_iterator{w.user.path})
    CHECK(file.path().filename().string().find(".skep-apply-") == std::string::npos);
}

TEST_CASE("a patch is merged with what was changed here, or nothing at all is written") {
  swarm_results w;
  w.user.put("a", text_of_lines(ten));
  w.user.put("moved", text_of_lines(ten));
  w.user.put("c", "c\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("a", with_line(0, "agent"));
    std::filesystem::remove(r / "moved");
    r.put("moved to", with_line(0, "agent"));
    r.put("c", "agent\n");
  });
  w.user.put("a", with_line(9, "mine"));
  w.user.put("moved", with_line(9, "mine"));
  auto merged = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::patch, false});
  REQUIRE(merged.ok());
  CHECK_FALSE(merged->conflicts());
  auto both = ten;
  both[0] = "agent";
  both[9] = "mine";
  CHECK(get(w.user / "a") == text_of_lines(both));
  CHECK(get(w.user / "moved to") == text_of_lines(both));
  CHECK_FALSE(exists(w.user / "moved"));
  CHECK(get(w.user / "c") == "agent\n");

  w.user.put("a", with_line(0, "mine as well"));
  w.user.put("c", "c\n");
  auto refused = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::patch, false});
  REQUIRE(refused.ok());
  CHECK(fate_of(*refused, "a") == fate::conflict);
  CHECK(get(w.user / "a") == with_line(0, "mine as well"));
  CHECK(get(w.user / "c") == "c\n");
}

TEST_CASE("a file that somebody writes all the time is named, and nothing is taken over") {
  swarm_results w;
  w.user.put("a", text_of_lines(ten));
  w.user.put("c", "c\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("a", with_line(0, "agent"));
    r.put("c", "agent\n");
  });
  // Lines at the end merge with the agent's first one, but a plan of it is out of date as soon as
  // it is made: each merge is followed by another line.
  w.user.put("a", text_of_lines(ten) + "more\n");
  temp bin;
  put(bin / "git",
      "#!/bin/sh\n\"" + in_path("git") + "\" \"$@\"\nresult=$?\n"
          + "[ \"$1\" != merge-file ] || echo more >>\"" + (w.user / "a") + "\"\nexit $result\n",
      0755);
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", (bin.path + ":" + path).c_str(), 1);
  auto done = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::patch, false});
  ::setenv("PATH", path.c_str(), 1);
  REQUIRE_FALSE(done.ok());
  CHECK(done.err().code == errc::apply_conflict);
  CHECK(done.err().message
        == "a keeps changing; nothing was written, stop what writes there and repeat");
  CHECK(get(w.user / "a").starts_with(text_of_lines(ten)));
  CHECK(get(w.user / "c") == "c\n");
  for (const auto& file : std::filesystem::directory_iterator{w.user.path})
    CHECK(file.path().filename().string().find(".skep-apply-") == std::string::npos);
}

TEST_CASE("permission bits and files that nobody changed stay as they are") {
  swarm_results w;
  w.user.put("private", "x\n");
  w.user.put("tool", "x\n", 0755);
  w.user.put("other", "x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("private", "agent\n");
    r.put("tool", "agent\n", 0644);
  });
  std::filesystem::permissions(w.user / "private", std::filesystem::perms(0600));
  struct stat before {
  }, after{};
  REQUIRE(::stat((w.user / "other").c_str(), &before) == 0);
  REQUIRE(take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::files, false}).ok());
  REQUIRE(::stat((w.user / "other").c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  CHECK(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
  REQUIRE(::stat((w.user / "private").c_str(), &after) == 0);
  CHECK((after.st_mode & 0777) == 0600);
  CHECK(get(w.user / "private") == "agent\n");
  REQUIRE(::stat((w.user / "tool").c_str(), &after) == 0);
  CHECK((after.st_mode & 0111) == 0);
}

TEST_CASE("nothing is written through a folder that became a symlink here") {
  swarm_results w;
  w.user.put("d/a", "x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("d/a", "agent\n");
    r.put("d/new", "agent\n");
  });
  temp outside;
  put(outside / "a", "not yours\n");
  std::filesystem::remove_all(w.user / "d");
  std::filesystem::create_directory_symlink(outside.path, w.user / "d");
  auto report = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::files, false});
  REQUIRE(report.ok());
  CHECK(report->count(fate::conflict) == 2);
  CHECK(get(outside / "a") == "not yours\n");
  CHECK_FALSE(exists(outside / "new"));
  CHECK(std::filesystem::is_symlink(w.user / "d"));
}

TEST_CASE("results that were changed on disk are refused, and nothing is written") {
  swarm_results w;
  w.user.put("a", "x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("a", "agent\n"); });
  auto panes = w.panes();
  put(w.dir() + "/p0/files/a", "agenT\n");
  auto refused = take_over(w.dir(), w.base(), panes, {w.user.path, take_mode::files, false});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::results_changed);
  CHECK(get(w.user / "a") == "x\n");
  put(w.dir() + "/p0/files/a", "agent\n");
  put(w.dir() + "/p0.patch", "another");
  CHECK(check_kept(panes[0]).err().code == errc::results_changed);
}

TEST_CASE("a copied file is written as an added one is, and what it was copied from stays") {
  swarm_results w;
  w.user.put("a", text_of_lines(ten));
  w.user.commit();
  w.begin();
  w.copies = {{"copy", "a"}, {"sub/mine", "a"}};
  w.pane("p0", [](const repo& r) {
    r.put("copy", text_of_lines(ten), 0755);
    r.put("sub/mine", with_line(0, "agent"));
  });
  REQUIRE(w.panes().at(0).summary.copied.size() == 2);
  w.user.put("sub/mine", "mine, too\n");
  w.user.put("a", with_line(9, "mine"));
  auto report = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::files, false});
  REQUIRE(report.ok());
  CHECK(fate_of(*report, "copy") == fate::written);
  CHECK(get(w.user / "copy") == text_of_lines(ten));
  CHECK(fate_of(*report, "sub/mine") == fate::conflict);
  CHECK(get(w.user / "sub/mine") == "mine, too\n");
  CHECK(get(w.user / "sub/mine.skep-p0") == with_line(0, "agent"));
  CHECK(get(w.user / "a") == with_line(9, "mine"));
}

TEST_CASE("two panes after one another: the second meets what the first one brought") {
  swarm_results w;
  w.user.put("a", text_of_lines(ten));
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("a", with_line(0, "first")); });
  w.pane("p1", [](const repo& r) { r.put("a", with_line(9, "second")); });
  auto report = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::patch, false});
  REQUIRE(report.ok());
  CHECK_FALSE(report->conflicts());
  auto both = ten;
  both[0] = "first";
  both[9] = "second";
  CHECK(get(w.user / "a") == text_of_lines(both));
}

TEST_CASE(
    "where two panes changed the same file in their own ways the conflict names the other one") {
  swarm_results w;
  w.user.put("a", text_of_lines(ten));
  w.user.put("gone", "x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("a", with_line(0, "first"));
    r.put("gone", "y\n");
  });
  w.pane("p1", [](const repo& r) {
    r.put("a", with_line(0, "second"));
    std::filesystem::remove(r / "gone");
  });
  auto report = take_over(w.dir(), w.base(), w.panes(), {w.user.path, take_mode::files, false});
  REQUIRE(report.ok());
  std::map<std::string, std::string> reasons;
  for (const auto& p : report->paths)
    if (p.became == fate::conflict) reasons[p.pane + ":" + p.path] = p.reason;
  CHECK(reasons
        == std::map<std::string, std::string>{{"p1:a", "changed by p0, too"},
                                              {"p1:gone", "deleted by the agent, changed by p0"}});
  CHECK(get(w.user / "a") == with_line(0, "first"));
}

TEST_CASE("a branch stands on the commit of the start, and what was not committed is one upon it") {
  swarm_results w;
  w.user.put("a", "a\n");
  w.user.put("b", "b\n");
  auto head = w.user.commit();
  w.user.put("b", "mine, not committed\n");
  w.user.put("untracked", "mine\n");
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("a", "agent\n"); });
  w.user.put("later", "after the start\n");
  auto status = git(w.user.path, {"status", "--porcelain"});
  branch_options o{w.user.path, "skep/x/p0", {}, {"Ada", "ada@example.org", "options", false}};
  auto made = make_branch(w.dir(), w.base(), w.panes()[0], o);
  REQUIRE(made.ok());
  CHECK(made->snapshot);
  CHECK(git(w.user.path, {"rev-parse", "skep/x/p0~2"}) == head);
  CHECK(git(w.user.path, {"show", "skep/x/p0~1:untracked"}) == "mine");
  CHECK(git(w.user.path, {"show", "skep/x/p0:a"}) == "agent");
  CHECK(git(w.user.path, {"ls-tree", "-r", "--name-only", "skep/x/p0"}) == "a\nb\nuntracked");
  CHECK(git(w.user.path, {"log", "-1", "--format=%an <%ae> %cn", "skep/x/p0"})
        == "Ada <ada@example.org> Ada");
  CHECK(git(w.user.path, {"status", "--porcelain"}) == status);
  CHECK(git(w.user.path, {"symbolic-ref", "HEAD"}) == "refs/heads/main");
  CHECK(make_branch(w.dir(), w.base(), w.panes()[0], o)->was_there);

  o.message = "--evil $(touch x)\n\n`y` \"z\"\n-q\n";
  CHECK(make_branch(w.dir(), w.base(), w.panes()[0], o).err().code == errc::exists);
  o.branch = "other";
  REQUIRE(make_branch(w.dir(), w.base(), w.panes()[0], o).ok());
  CHECK(git(w.user.path, {"log", "-1", "--format=%B", "other"})
        == "--evil $(touch x)\n\n`y` \"z\"\n-q\n");

  repo elsewhere;
  elsewhere.put("a", "a\n");
  elsewhere.commit();
  o.repo = elsewhere.path;
  CHECK(make_branch(w.dir(), w.base(), w.panes()[0], o).err().code == errc::base_missing);
}

TEST_CASE("names of branches and identities cannot inject anything", "[owasp-a03]") {
  for (const char* good : {"a", "fix/login", "A-Z_0.9/x", "skep/sw_1/p0"})
    CHECK(check_branch_name(good).ok());
  for (const char* bad : {"",      "-x",   "--upload-pack=evil",
                          "a b",   "a\nb", "a;b",
                          "$(x)",  "`x`",  "a'b",
                          "a\"b",  "a..b", "a.lock",
                          "/a",    "a/",   "a//b",
                          "a/.b",  ".a",   "HEAD",
                          "a@{1}", "a:b",  "a~1",
                          "a^",    "a?",   "a*",
                          "a[b",   "a\\b", "\xC3\xA4",
                          "a|b",   "a&b",  "a>b",
                          "a%b"})
    CHECK(check_branch_name(bad).err().code == errc::bad_argument);
  CHECK(check_branch_name(std::string(201, 'a')).err().code == errc::bad_argument);
  repo r;
  for (const char* bad : {"a\nb", "a<b", "a>b", "...", " "})
    CHECK(find_identity(r.path, bad, "x@example.org").err().code == errc::bad_argument);
  auto given = find_identity(r.path, "$(touch x) 'y' -z", "-x@example.org");
  REQUIRE(given.ok());
  CHECK(given->name == "$(touch x) 'y' -z");
  git(r.path, {"config", "user.name", "Grace"});
  git(r.path, {"config", "user.email", "grace@example.org"});
  CHECK(find_identity(r.path, "", "")->name == "Grace");
  auto partial = find_identity(r.path, "only a name", "");
  CHECK(partial->from == "git");
  CHECK(partial->partial);
}

TEST_CASE("a branch goes to a remote by name, and the forge command is argv") {
  swarm_results w;
  w.user.put("a", "a\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("a", "agent\n"); });
  temp t;
  run({"git", "init", "-q", "--bare", t / "bare.git"});
  git(w.user.path, {"remote", "add", "up", t / "bare.git"});
  branch_options o{w.user.path, "fix", {}, {"Ada", "ada@example.org", "options", false}};
  auto made = make_branch(w.dir(), w.base(), w.panes()[0], o);
  REQUIRE(made.ok());
  push_options push{w.user.path, "up", "fix", "sesame-token"};
  REQUIRE(push_branch(push).ok());
  CHECK(git(t / "bare.git", {"rev-parse", "refs/heads/fix"}) == made->commit);
  REQUIRE(push_branch(push).ok()); // once more is no error
  for (const char* bad : {"", "nowhere", "--receive-pack=evil", "ext::sh -c evil"}) {
    push.remote = bad;
    CHECK(push_branch(push).err().code == errc::bad_argument);
  }
  // Somebody else's commit under that name is not overwritten.
  git(t / "bare.git", {"update-ref", "refs/heads/fix",
                       git(t / "bare.git", {"commit-tree", "-m", "x", made->commit + "^{tree}"})});
  push.remote = "up";
  auto refused = push_branch(push);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::push_failed);
  CHECK(render(refused.err()).find("sesame-token") == std::string::npos);

  put(t / "forge",
      "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$@\" > \"$0.args\"\ncat \"$4\" > \"$0.body\"\n"
      "echo \"$FORGE_TOKEN\" > \"$0.token\"\necho https://forge.example.org/1\n",
      0755);
  put(t / "body", "the \"body\"\n");
  forge_options f;
  f.command = {t / "forge", "--title={title}", "{branch}", "{target}", "{body_file}"};
  f.repo = w.user.path;
  f.branch = "fix";
  f.target = "main";
  f.title = "$(touch x) \"quoted\" {branch}";
  f.body_file = t / "body";
  f.token = "sesame-token";
  f.token_variable = "FORGE_TOKEN";
  auto answer = ask_forge(f);
  REQUIRE(answer.ok());
  CHECK(*answer == "https://forge.example.org/1");
  CHECK(get(t / "forge.args")
        == "4\n--title=$(touch x) \"quoted\" {branch}\nfix\nmain\n" + t / "body" + "\n");
  CHECK(get(t / "forge.body") == "the \"body\"\n");
  CHECK(get(t / "forge.token") == "sesame-token\n");
  f.command = {"false"};
  CHECK(ask_forge(f).err().code == errc::forge_failed);
  f.command = {"echo", "{nothing}"};
  CHECK(ask_forge(f).err().code == errc::bad_argument);
}
