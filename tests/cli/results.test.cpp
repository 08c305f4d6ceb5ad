// skep diff, download and apply on results in a folder, as they are used where no daemon runs.
#include "tests/cli/program.hpp"
#include "tests/cli/schemas.hpp"
#include "tests/transfer/results_fixture.hpp"
#include "transfer/apply_branch.hpp"
#include "transfer/posix.hpp"

#include <fcntl.h>
#include <set>
#include <sys/file.h>
#include <sys/stat.h>

using namespace skep;
using namespace skep::cli_test;
using skep::test::get;
using skep::test::put;
using skep::test::repo;
using skep::test::swarm_results;

namespace {

/// Two panes; p1 meets what p0 did in `both`.
struct two_panes : swarm_results {
  two_panes() {
    user.put("both", "one\ntwo\nthree\n");
    user.put("old name", "a\nb\nc\nd\ne\n");
    user.commit();
    begin();
    pane("p0", [](const repo& r) {
      r.put("both", "ONE\ntwo\nthree\n");
      std::filesystem::rename(r / "old name", r / "new\nname");
    });
    pane("p1", [](const repo& r) { r.put("both", "1\ntwo\nthree\n"); });
    pane("p2", [](const repo&) {});
  }
  std::string of(const std::string& name) const { return dir() + "/" + name; }
};

} // namespace

TEST_CASE("diff shows what each pane changed, as a table, as patches and as JSON") {
  two_panes w;
  cli_world c;
  auto shown = c.skep({"diff", w.dir()});
  CHECK(shown.code == 0);
  for (const char* text : {"p0: 2 paths, 1 commit", "modified", "+1 -1", "both", "renamed",
                           "old name -> \"new\\nname\"", "p2: nothing changed"})
    CHECK(shown.out.find(text) != std::string::npos);
  auto patch = c.skep({"diff", w.of("p0"), "--patch"});
  CHECK(patch.out == get(w.dir() + "/p0.patch"));
  auto j = c.skep({"diff", w.of("p0"), "--json"}).document();
  CHECK(mismatch(all_schemas().at("diff"), j) == "");
  REQUIRE(j["panes"].size() == 1);
  CHECK(j["panes"][0]["changes"][1]["from"] == "old name");
  CHECK(j["panes"][0]["patch_origin"] == "claimed");
  CHECK_FALSE(j.contains("scan")); // of what was collected it was told then
  CHECK(c.skep({"diff", w.of("p7")}).code != 0);
  put(w.of("p0") + "/files/both", "tampered");
  auto bad = c.skep({"diff", w.of("p0"), "--json"});
  CHECK(bad.code == 74);
  CHECK(bad.document()["error"]["code"] == "results_changed");
}

TEST_CASE("diff names the files of a pane that were too large to come back") {
  two_panes w;
  cli_world c;
  const auto record = w.of("p0") + "/changes.json";
  auto j = json::parse(get(record));
  REQUIRE(j["summary"]["too_large"].empty());
  j["summary"]["too_large"] = {"blob-0", "blob-1", "blob-2", "blob-3",
                               "blob-4", "blob-5", "blob-6"};
  put(record, j.dump());
  auto shown = c.skep({"diff", w.of("p0")});
  CHECK(shown.code == 0);
  for (const char* text :
       {"Note: blob-0 of p0 is too large to come back with the rest. It is left out.",
        "Note: blob-4 of p0 ", "2 more such paths of p0 are named"})
    CHECK(shown.err.find(text) != std::string::npos);
  CHECK(shown.err.find("blob-5") == std::string::npos);
}

TEST_CASE("diff names a copied file with what it was copied from, and remarks on a copied rule") {
  swarm_results w;
  w.user.put("a", "a\nb\nc\n");
  w.user.put("sub/.skepignore", "data*\n");
  w.user.commit();
  w.begin();
  w.copies = {{"copy", "a"}, {".skepignore", "sub/.skepignore"}};
  w.pane("p0", [](const repo& r) {
    r.put("copy", "a\nb\nc\n");
    r.put(".skepignore", "data*\n");
  });
  cli_world c;
  auto shown = c.skep({"diff", w.dir()});
  CHECK(shown.code == 0);
  for (const char* text : {"p0: 2 paths, 1 commit", "copied", "+3 -0", "a -> copy"})
    CHECK(shown.out.find(text) != std::string::npos);
  CHECK(shown.err.find("WARNING: p0 changed .skepignore:") != std::string::npos);
  CHECK(shown.err.find("sub/.skepignore") == std::string::npos); // nobody changed that one
  auto j = c.skep({"diff", w.dir(), "--json"}).document();
  CHECK(mismatch(all_schemas().at("diff"), j) == "");
  const auto& changes = j["panes"][0]["changes"];
  REQUIRE(changes.size() == 2);
  CHECK(changes[1]["path"] == "copy");
  CHECK(changes[1]["change"] == "copied");
  CHECK(changes[1]["from"] == "a");
}

TEST_CASE("download copies results whole or not at all") {
  two_panes w;
  cli_world c;
  auto to = c.dir.path + "/there";
  auto x = c.skep({"download", w.dir(), "--to", to, "--json"});
  CHECK(x.code == 0);
  CHECK(mismatch(all_schemas().at("download"), x.document()) == "");
  CHECK(get(to + "/p0/files/both") == "ONE\ntwo\nthree\n");
  CHECK(get(to + "/p1.patch") == get(w.dir() + "/p1.patch"));
  CHECK(c.skep({"diff", to}).code == 0); // what was copied is results again
  CHECK(c.skep({"download", w.dir(), "--to", to}).code == 65);
  put(w.of("p1") + "/files/both", "tampered");
  CHECK(c.skep({"download", w.dir(), "--to", to + "2"}).code == 74);
  CHECK_FALSE(std::filesystem::exists(to + "2"));
}

TEST_CASE("what a killed download left beside its target goes with the next one; what is held, or "
          "is not ours, stays") {
  two_panes w;
  cli_world c;
  auto beside = [&](const char* letters) {
    return c.dir.path + "/copies/.skep-download-" + letters;
  };
  for (const char* letters : {"KILLED", "LIVING", "OTHERS"})
    put(beside(letters) + "/results/p0.patch", "half a patch\n");
  for (const char* letters : {"KILLED", "LIVING"})
    REQUIRE(::chmod(beside(letters).c_str(), S_ISVTX | 0700) == 0);
  REQUIRE(::chmod(beside("OTHERS").c_str(), 0700) == 0);
  transfer::unique_fd living{::open(beside("LIVING").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  REQUIRE(::flock(living.get(), LOCK_EX | LOCK_NB) == 0);
  REQUIRE(c.skep({"download", w.dir(), "--to", c.dir.path + "/copies/there/"}).code == 0);
  std::set<std::string> left;
  for (const auto& x : std::filesystem::directory_iterator{c.dir.path + "/copies"})
    left.insert(x.path().filename().string());
  CHECK(left == std::set<std::string>{".skep-download-LIVING", ".skep-download-OTHERS", "there"});
  CHECK(get(beside("LIVING") + "/results/p0.patch") == "half a patch\n");
  CHECK(get(beside("OTHERS") + "/results/p0.patch") == "half a patch\n");
  CHECK_FALSE(test::exists(c.dir.path + "/copies/there/.gitignore")); // only of what is half done
}

TEST_CASE("apply writes results into the work tree, and 83 says that both versions were kept") {
  two_panes w;
  cli_world c;
  auto check = c.skep({"apply", w.of("p0"), "--check"});
  CHECK(check.code == 0);
  CHECK(check.out.find("Would be: 2 written, 1 deleted") != std::string::npos);
  CHECK(get(w.user / "both") == "one\ntwo\nthree\n");
  CHECK(c.skep({"apply", w.of("p0")}).code == 0);
  CHECK(get(w.user / "both") == "ONE\ntwo\nthree\n");
  CHECK(test::exists(w.user / "new\nname"));
  auto x = c.skep({"apply", w.of("p1"), "--json"});
  CHECK(x.code == 83);
  CHECK(mismatch(all_schemas().at("apply"), x.document()) == "");
  CHECK(x.document()["conflicts"] == 1);
  CHECK(get(w.user / "both") == "ONE\ntwo\nthree\n");
  CHECK(get(w.user / "both.skep-p1") == "1\ntwo\nthree\n");
  auto told = c.skep({"apply", w.of("p1"), "--mode", "patch"});
  CHECK(told.code == 83);
  CHECK(told.out.find("Nothing was written") != std::string::npos);
  auto none = c.skep({"apply", w.of("p2")});
  CHECK(none.code == 0);
  CHECK(none.out.find("Nothing to take over") != std::string::npos);
}

TEST_CASE("diff and apply warn of results that change what later runs upload, or scan for") {
  swarm_results w;
  w.user.put("a", "1\n");
  w.user.put("sub/.skepignore", "data*\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put(".skep-scan-allow", "* * # fixtures\n"); });
  w.pane("p1", [](const repo& r) {
    std::filesystem::remove(r / "sub/.skepignore");
    r.put(".gitignore", "!all\n");
  });
  w.pane("p2", [](const repo& r) { r.put("sub/.skep-scan-allow", "of no effect there\n"); });
  cli_world c;
  auto told = [&](std::vector<std::string> words, const std::string& text) {
    auto x = c.skep(std::move(words));
    INFO(x.out << x.err);
    CHECK(x.code == 0);
    return x.err.find(text) != std::string::npos;
  };
  const std::string p0 = "WARNING: p0 changed .skep-scan-allow:";
  const std::string p1 = "WARNING: p1 changed sub/.skepignore:";
  const std::string git = "Note: p1 changed .gitignore:";
  for (const auto& text : {p0, p1, git})
    CHECK(told({"diff", w.dir()}, text));
  CHECK(told({"apply", w.dir() + "/p0", "--check"}, p0));
  CHECK_FALSE(test::exists(w.user / ".skep-scan-allow")); // told before anything is written
  CHECK(told({"apply", w.dir() + "/p0", "--json"}, p0));
  CHECK(told({"apply", w.dir() + "/p1", "--mode", "patch"}, p1));
  CHECK_FALSE(told({"apply", w.dir() + "/p2"}, "p2 changed"));
}

TEST_CASE("apply makes one branch for each pane, and options that do not go together are refused") {
  two_panes w;
  cli_world c;
  auto x = c.skep({"apply", w.dir(), "--mode", "branch", "--git-name", "Ada", "--git-email",
                   "ada@example.org", "--json"});
  INFO(x.out << x.err);
  REQUIRE(x.code == 0);
  CHECK(mismatch(all_schemas().at("apply"), x.document()) == "");
  CHECK(x.document()["branches"].size() == 2);
  CHECK(x.document()["empty"] == json::array({"p2"}));
  CHECK(test::git(w.user.path, {"show", "skep/sw_x/p1:both"}) == "1\ntwo\nthree");
  CHECK(test::git(w.user.path, {"log", "-1", "--format=%s %an", "skep/sw_x/p0"})
        == "what p0 did Ada");
  auto one =
      c.skep({"apply", w.of("p0"), "--mode", "branch", "--branch", "mine", "--message-file", "-"},
             "-q \"quoted\" $(touch evil)\n");
  CHECK(one.code == 0);
  CHECK(test::git(w.user.path, {"log", "-1", "--format=%s", "mine"})
        == "-q \"quoted\" $(touch evil)");
  CHECK_FALSE(test::exists(w.user / "evil"));
  for (const auto& bad :
       std::vector<std::vector<std::string>>{{"--branch", "x"},
                                             {"--mode", "elsewhere"},
                                             {"--mode", "branch", "--title", "x"},
                                             {"--mode", "branch", "--git-name", "only"},
                                             {"--mode", "branch", "--branch", "a b"},
                                             {"--mode", "branch", "--branch", "--evil"},
                                             {"--mode", "pr", "--title=-x"},
                                             {"--mode", "pr", "--remote", "nowhere"},
                                             {"--mode", "pr", "--target", "a..b"}}) {
    auto arguments = bad;
    arguments.insert(arguments.begin(), {"apply", w.of("p0")});
    CHECK(c.skep(arguments).code == 64);
  }
}

TEST_CASE("a request is a pushed branch and a forge command that finds title, body and token") {
  two_panes w;
  cli_world c;
  auto bare = c.dir.path + "/bare.git", forge = c.dir.path + "/forge";
  test::run({"git", "init", "-q", "--bare", bare});
  test::git(w.user.path, {"remote", "add", "up", bare});
  put(forge,
      "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$0.args\"\ncat \"$3\" > \"$0.body\"\n"
      "printf %s \"$THE_TOKEN\" > \"$0.token\"\necho https://forge.example.org/7\n",
      0755);
  REQUIRE(c.skep({"secret", "set", "GIT_TOKEN"}, "sesame-4711").code == 0);
  put(c.state + "/skep.toml", "[forge]\nremote = \"up\"\ntoken = \"GIT_TOKEN\"\n"
                              "token_variable = \"THE_TOKEN\"\ncommand = [\""
                                  + forge
                                  + "\", \"--title={title}\", \"{branch}\", \"{body_file}\"]\n");
  auto x = c.skep({"apply", w.of("p0"), "--mode", "pr", "--branch", "fix", "--title", "It's \"$x\"",
                   "--body-file", "-"},
                  "why\n");
  INFO(x.out << x.err);
  REQUIRE(x.code == 0);
  CHECK(x.out.find("https://forge.example.org/7") != std::string::npos);
  CHECK(test::git(bare, {"show", "fix:both"}) == "ONE\ntwo\nthree");
  CHECK(get(forge + ".args").starts_with("--title=It's \"$x\"\nfix\n/"));
  CHECK(get(forge + ".body") == "why\n");
  CHECK(get(forge + ".token") == "sesame-4711");
  CHECK((x.out + x.err).find("sesame") == std::string::npos);
  // The branch is there, so the same command can be given again after a forge that failed.
  put(forge, "#!/bin/sh\necho no >&2\nexit 3\n", 0755);
  auto failed = c.skep(
      {"apply", w.of("p0"), "--mode", "pr", "--branch", "fix", "--target", "next", "--json"});
  CHECK(failed.code == 76);
  CHECK(failed.document()["error"]["code"] == "forge_failed");
}

TEST_CASE("a pushed branch without a forge command is told to have no request") {
  two_panes w;
  cli_world c;
  auto bare = c.dir.path + "/bare.git";
  test::run({"git", "init", "-q", "--bare", bare});
  test::git(w.user.path, {"remote", "add", "up", bare});
  auto x = c.skep({"apply", w.of("p0"), "--mode", "pr", "--branch", "fix", "--remote", "up"});
  INFO(x.out << x.err);
  REQUIRE(x.code == 0);
  CHECK(x.out.find("pushed to up; no request was made, for [forge] in skep.toml has no command")
        != std::string::npos);
  CHECK(test::git(bare, {"show", "fix:both"}) == "ONE\ntwo\nthree");
  auto again =
      c.skep({"apply", w.of("p0"), "--mode", "pr", "--branch", "fix", "--remote", "up", "--json"});
  CHECK(again.document()["branches"][0]["requested"] == false);
}

namespace {

/// A forge that takes one request for a branch, as `gh pr create` does, and refuses the branches
/// whose names are in its file `refused`. It notes what it was asked, and what the record of the
/// pane said at that moment.
struct strict_forge {
  std::string place;
  explicit strict_forge(const cli_world& c, const swarm_results& w) : place(c.dir.path + "/forge") {
    auto bare = c.dir.path + "/bare.git";
    test::run({"git", "init", "-q", "--bare", bare});
    test::git(w.user.path, {"remote", "add", "up", bare});
    put(place + "/run",
        "#!/bin/sh\ncd '" + place + "'\necho \"$1 $2\" >>asked\ncat '" + w.dir()
            + "'/\"${1##*/}\"/requests.json >>records\n"
              "if grep -qx \"$1\" refused; then echo no >&2; exit 3; fi\n"
              "if grep -qx \"$1 $2\" made; then echo there is one >&2; exit 1; fi\n"
              "echo \"$1 $2\" >>made\necho \"https://forge.example.org/$1\"\n",
        0755);
    refuse("");
    put(place + "/made", "");
    std::filesystem::create_directories(c.state);
    std::filesystem::permissions(c.state, std::filesystem::perms::owner_all);
    put(c.state + "/skep.toml", "[forge]\nremote = \"up\"\ncommand = [\"" + place
                                    + "/run\", \"{branch}\", \"{target}\"]\n");
  }
  void refuse(const std::string& branch) const { put(place + "/refused", branch + "\n"); }
  std::string asked() const { return get(place + "/asked"); }
};

} // namespace

TEST_CASE("a pane whose request fails stops no other, and what was made is not asked for again") {
  two_panes w;
  cli_world c;
  strict_forge forge{c, w};
  forge.refuse("skep/sw_x/p0");
  auto first = c.skep({"apply", w.dir(), "--mode", "pr", "--json"});
  INFO(first.out << first.err);
  CHECK(first.code == 76);
  auto told = first.document();
  CHECK(mismatch(all_schemas().at("apply"), told) == "");
  CHECK(told["error"]["code"] == "forge_failed");
  REQUIRE(told["branches"].size() == 2);
  CHECK(told["branches"][0]["error"]["code"] == "forge_failed");
  CHECK(told["branches"][0]["remote"] == "up");
  CHECK(told["branches"][0]["request"] == "");
  CHECK(told["branches"][1]["error"]["code"] == "none");
  CHECK(told["branches"][1]["request"] == "https://forge.example.org/skep/sw_x/p1");
  CHECK(told["branches"][1]["request_was_there"] == false);
  auto bare = c.dir.path + "/bare.git";
  auto pushed = test::git(bare, {"rev-parse", "skep/sw_x/p1"});
  CHECK(pushed == told["branches"][1]["commit"].get<std::string>());

  // Meanwhile somebody put a commit upon p1's branch there: it is left alone.
  test::git(bare, {"update-ref", "refs/heads/skep/sw_x/p1",
                   test::git(bare, {"commit-tree", "-m", "x", "-p", pushed, pushed + "^{tree}"})});
  forge.refuse("");
  auto second = c.skep({"apply", w.dir(), "--mode", "pr", "--json"});
  INFO(second.out << second.err);
  CHECK(second.code == 0);
  auto all = second.document();
  CHECK(mismatch(all_schemas().at("apply"), all) == "");
  CHECK_FALSE(all.contains("error"));
  REQUIRE(all["branches"].size() == 2);
  CHECK(all["branches"][0]["request"] == "https://forge.example.org/skep/sw_x/p0");
  CHECK(all["branches"][0]["request_was_there"] == false);
  CHECK(all["branches"][1]["request"] == "https://forge.example.org/skep/sw_x/p1");
  CHECK(all["branches"][1]["request_was_there"] == true);
  CHECK(forge.asked() == "skep/sw_x/p0 main\nskep/sw_x/p1 main\nskep/sw_x/p0 main\n");

  auto third = c.skep({"apply", w.dir(), "--mode", "pr"});
  CHECK(third.code == 0);
  CHECK(third.out.find("asked for before: https://forge.example.org/skep/sw_x/p0")
        != std::string::npos);
  auto elsewhere = c.skep({"apply", w.of("p0"), "--mode", "pr", "--branch", "skep/sw_x/p0",
                           "--target", "next"}); // another request
  CHECK(elsewhere.code == 0);
  CHECK(forge.asked().ends_with("skep/sw_x/p0 main\nskep/sw_x/p0 next\n"));
}

TEST_CASE("that a forge is asked is written down first, and without its answer it is asked again") {
  two_panes w;
  cli_world c;
  strict_forge forge{c, w};
  forge.refuse("skep/sw_x/p0");
  // A single pane: its branch is named as the default would be.
  const std::vector<std::string> again{"apply",    w.of("p0"),     "--mode", "pr",
                                       "--branch", "skep/sw_x/p0", "--json"};
  auto message = [&] {
    auto x = c.skep(again);
    INFO(x.out << x.err);
    CHECK(x.code == 76);
    return x.document()["branches"][0]["error"]["message"].get<std::string>();
  };
  CHECK(message().find("the request may exist") == std::string::npos);
  auto record = json::parse(get(forge.place + "/records"), nullptr, false);
  REQUIRE(record.is_object());
  REQUIRE(record["requests"].size() == 1);
  CHECK(record["requests"][0]["branch"] == "skep/sw_x/p0");
  CHECK(record["requests"][0]["answered"] == false);
  // What a crash between the forge's answer and the record leaves: the forge has it already.
  forge.refuse("");
  put(forge.place + "/made", "skep/sw_x/p0 main\n");
  CHECK(message().find("the request may exist") != std::string::npos);
  put(forge.place + "/made", "");
  CHECK(c.skep(again).code == 0);
  auto kept = json::parse(get(w.of("p0") + "/requests.json"), nullptr, false);
  REQUIRE(kept["requests"].size() == 1);
  CHECK(kept["requests"][0]["answered"] == true);
  CHECK(kept["requests"][0]["answer"] == "https://forge.example.org/skep/sw_x/p0");
  // Without a record that can be read nobody is asked.
  put(w.of("p0") + "/requests.json", "{");
  auto before = forge.asked();
  CHECK(c.skep(again).document()["error"]["code"] == "results_changed");
  CHECK(forge.asked() == before);
}

TEST_CASE("a downloaded copy of results makes the same branches, and asks a forge for nothing that "
          "it was asked for") {
  swarm_results w;
  w.user.put("a", "1\n");
  w.user.commit();
  w.user.put("a", "not committed\n"); // in no commit: it travels with the results
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("b", "2\n"); });
  w.pane("p1", [](const repo& r) { r.put("c", "3\n"); });
  cli_world c;
  strict_forge forge{c, w};
  forge.refuse("skep/sw_x/p1");
  CHECK(c.skep({"apply", w.dir(), "--mode", "pr"}).code == 76);
  auto copy = c.dir.path + "/copies/sw_x"; // branches are named by it
  REQUIRE(c.skep({"download", w.dir(), "--to", copy}).code == 0);
  CHECK(get(copy + "/base/a") == "not committed\n");
  CHECK(get(copy + "/p0/requests.json") == get(w.dir() + "/p0/requests.json"));
  forge.refuse("");
  auto x = c.skep({"apply", copy, "--mode", "pr", "--json"});
  INFO(x.out << x.err);
  CHECK(x.code == 0);
  auto told = x.document();
  REQUIRE(told["branches"].size() == 2);
  CHECK(told["branches"][0]["request"] == "https://forge.example.org/skep/sw_x/p0");
  CHECK(told["branches"][0]["request_was_there"] == true);
  CHECK(told["branches"][0]["was_there"] == true);
  CHECK(told["branches"][1]["request_was_there"] == false); // it had no answer
  CHECK(forge.asked() == "skep/sw_x/p0 main\nskep/sw_x/p1 main\nskep/sw_x/p1 main\n");
}

TEST_CASE("branches and requests of the same results are made by one apply at a time") {
  two_panes w;
  cli_world c;
  strict_forge forge{c, w};
  auto held = transfer::hold_results(w.dir()); // as another `skep apply` does
  REQUIRE(held.ok());
  for (const char* mode : {"branch", "pr"}) {
    auto x = c.skep({"apply", w.dir(), "--mode", mode, "--json"});
    INFO(x.out << x.err);
    CHECK(x.code == 75);
    auto told = x.document();
    CHECK(told["error"]["code"] == "apply_running");
    CHECK(told["error"]["message"].get<std::string>().find(w.dir()) != std::string::npos);
    CHECK(told["error"]["hint"].get<std::string>().find("the same command again")
          != std::string::npos);
  }
  CHECK(test::git(w.user.path, {"branch", "--list", "skep/*"}).empty());
  CHECK(forge.asked().empty());
  CHECK(c.skep({"apply", w.dir(), "--mode", "pr", "--check"}).code == 0);
  held->reset();
  auto done = c.skep({"apply", w.dir(), "--mode", "pr"});
  INFO(done.out << done.err);
  CHECK(done.code == 0);
  CHECK(forge.asked() == "skep/sw_x/p0 main\nskep/sw_x/p1 main\n");
}

TEST_CASE("a pane whose branch cannot be made stops no other") {
  two_panes w;
  cli_world c;
  test::git(w.user.path, {"branch", "skep/sw_x/p0"});
  auto x = c.skep({"apply", w.dir(), "--mode", "branch", "--json"});
  INFO(x.out << x.err);
  CHECK(x.code == 65);
  auto told = x.document();
  CHECK(mismatch(all_schemas().at("apply"), told) == "");
  CHECK(told["error"]["code"] == "exists");
  REQUIRE(told["branches"].size() == 2);
  CHECK(told["branches"][0]["error"]["code"] == "exists");
  CHECK(told["branches"][0]["commit"] == "");
  CHECK(test::git(w.user.path, {"rev-parse", "skep/sw_x/p1"})
        == told["branches"][1]["commit"].get<std::string>());
}

TEST_CASE("apply names what a branch would replace that the swarm was never given") {
  swarm_results w;
  w.user.put("a", "a\n");
  w.user.put(".npmrc", "registry=mine\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("a", "agent\n"); });
  w.pane("p1", [](const repo& r) { r.put(".npmrc", "registry=other\n"); });
  cli_world c;
  for (const char* mode : {"branch", "pr"}) {
    if (std::string{mode} == "pr") test::git(w.user.path, {"remote", "add", "origin", "/nowhere"});
    for (bool check : {true, false}) {
      std::vector<std::string> words{"apply", w.dir(), "--mode", mode, "--json"};
      if (check) words.push_back("--check");
      auto x = c.skep(words);
      INFO(x.out << x.err);
      CHECK(x.code == 83);
      auto told = x.document();
      CHECK(mismatch(all_schemas().at("apply"), told) == "");
      CHECK(told["conflicts"] == 1);
      CHECK(told["branches"].empty());
      REQUIRE(told["paths"].size() == 1);
      CHECK(told["paths"][0]["pane"] == "p1");
      CHECK(told["paths"][0]["path"] == ".npmrc");
      CHECK(told["paths"][0]["became"] == "conflict");
      CHECK(told["paths"][0]["copy"] == w.dir() + "/p1/files/.npmrc");
      CHECK(told["paths"][0]["reason"] == "it is in the commit, and was never given to the swarm");
    }
  }
  auto shown = c.skep({"apply", w.dir(), "--mode", "branch"});
  CHECK(shown.code == 83);
  CHECK(shown.out.find("No branch was made.") != std::string::npos);
  CHECK(shown.out.find("`--mode files`") != std::string::npos);
  CHECK(test::git(w.user.path, {"for-each-ref", "--format=%(refname)"}) == "refs/heads/main");
  CHECK(c.skep({"apply", w.dir() + "/p0", "--mode", "branch"}).code == 0);
}
