// A branch and what its commit holds that the swarm was never given.
#include "transfer/apply_branch.hpp"
#include "tests/transfer/results_fixture.hpp"

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

/// A submodule that was never fetched, a file that Skep leaves out, a folder that .skepignore does.
struct partly_given : swarm_results {
  partly_given() {
    user.put("a", "a\n");
    user.put("deleted", "x\n");
    user.put(".npmrc", "registry=mine\n");
    user.put(".skepignore", "/data\n");
    user.put("data/big", "big\n");
    auto first = user.commit();
    std::filesystem::create_directories(user / "vendor/lib");
    git(user.path, {"update-index", "--add", "--cacheinfo", "160000," + first + ",vendor/lib"});
    git(user.path, {"commit", "-q", "-m", "a submodule"});
    std::filesystem::remove(user / "deleted");
    begin();
  }
  branch_options to(const std::string& name) const {
    return {user.path, name, {}, {"Ada", "ada@example.org", "options", false}};
  }
};

/// A user's repository with a filter of a relative name, and an agent that brings a program of the
/// same name, which leaves a file where it runs.
struct filtered_repo : swarm_results {
  temp outside;
  filtered_repo() {
    user.put("f.sh", "#!/bin/sh\nsed s/secret/HIDDEN/\n", 0755);
    git(user.path, {"config", "filter.x.clean", "./f.sh"});
  }
  void agent_brings_program(const repo& r) const {
    r.put("f.sh", "#!/bin/sh\ntouch '" + (outside / "owned") + "'\nsed s/secret/OWNED/\n", 0755);
  }
  /// The branch p0 of the one pane; no program of the agent's may have run.
  made_branch branch() const {
    auto made = make_branch(dir(), base(), panes().at(0),
                            {user.path, "p0", {}, {"Ada", "ada@example.org", "options", false}});
    INFO((made ? "" : render(made.err())));
    REQUIRE(made.ok());
    CHECK_FALSE(exists(outside / "owned"));
    return *made;
  }
};

} // namespace

TEST_CASE("results that meet what a commit holds and the swarm was never given make no branch") {
  partly_given w;
  w.pane("p0", [](const repo& r) {
    r.put("a", "agent\n");
    r.put("vendor/lib/f.c", "a stub\n");
    r.put("vendor/library.c", "beside it\n");
    r.put(".npmrc", "registry=other\n");
    r.put("data", "a file in place of the folder\n");
  });
  auto panes = w.panes();
  auto met = withheld_paths(w.user.path, w.base(), panes);
  REQUIRE(met.ok());
  REQUIRE(met->size() == 3);
  CHECK(met->at(0).pane == "p0");
  CHECK(met->at(0).path == ".npmrc");
  CHECK(met->at(0).withheld == ".npmrc");
  CHECK(met->at(1).path == "data");
  CHECK(met->at(1).withheld == "data/big");
  CHECK(met->at(2).path == "vendor/lib/f.c");
  CHECK(met->at(2).withheld == "vendor/lib");
  CHECK_FALSE(met->at(2).removed);

  auto objects = git(w.user.path, {"count-objects", "-v"});
  auto refused = make_branch(w.dir(), w.base(), panes.at(0), w.to("p0"));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::apply_conflict);
  CHECK(refused.err().message
        == ".npmrc of p0 meets .npmrc, which is in the commit and was never given to the swarm");
  CHECK(git(w.user.path, {"count-objects", "-v"}) == objects);
  CHECK(git(w.user.path, {"for-each-ref", "--format=%(refname)"}) == "refs/heads/main");

  repo elsewhere;
  elsewhere.put("a", "a\n");
  elsewhere.commit();
  auto missing = withheld_paths(elsewhere.path, w.base(), panes);
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.err().code == errc::base_missing);
}

TEST_CASE("what the swarm was never given stays in a branch, and no pane takes it away") {
  partly_given w;
  w.pane("p0", [](const repo& r) {
    r.put("a", "agent\n");
    r.put("deleted", "made anew\n"); // deleted here when the swarm began: no conflict
  });
  auto panes = w.panes();
  auto met = withheld_paths(w.user.path, w.base(), panes);
  REQUIRE(met.ok());
  CHECK(met->empty());
  auto made = make_branch(w.dir(), w.base(), panes.at(0), w.to("p0"));
  INFO((made ? "" : render(made.err())));
  REQUIRE(made.ok());
  CHECK(git(w.user.path, {"ls-tree", "-r", "--name-only", "p0"})
        == ".npmrc\n.skepignore\na\ndata/big\ndeleted\nvendor/lib");
  CHECK(git(w.user.path, {"show", "p0:.npmrc"}) == "registry=mine");
  CHECK(git(w.user.path, {"show", "p0:deleted"}) == "made anew");
  CHECK(git(w.user.path, {"rev-parse", "p0:vendor/lib"})
        == git(w.user.path, {"rev-parse", "main:vendor/lib"}));

  // What the setup of a sandbox made, the pane may take away again.
  panes.at(0).summary.deleted = {".npmrc", "nowhere"};
  auto removed = withheld_paths(w.user.path, w.base(), panes);
  REQUIRE(removed.ok());
  REQUIRE(removed->size() == 1);
  CHECK(removed->at(0).path == ".npmrc");
  CHECK(removed->at(0).removed);
}

TEST_CASE(
    "a folder that is left out stands where its commit has a file: that file was deleted here") {
  swarm_results w;
  w.user.put("a", "a\n");
  w.user.put("e", "a file\n");
  w.user.put(".skepignore", "/e/\n");
  w.user.commit();
  std::filesystem::remove(w.user / "e");
  w.user.put("e/local", "of this machine\n");
  w.begin();
  CHECK(w.base().gone == std::vector<std::string>{"e"});
  w.pane("p0", [](const repo& r) { r.put("e/d", "agent\n"); });
  auto panes = w.panes();
  auto met = withheld_paths(w.user.path, w.base(), panes);
  REQUIRE(met.ok());
  CHECK(met->empty());
  auto made = make_branch(w.dir(), w.base(), panes.at(0),
                          {w.user.path, "p0", {}, {"Ada", "ada@example.org", "options", false}});
  INFO((made ? "" : render(made.err())));
  REQUIRE(made.ok());
  CHECK(git(w.user.path, {"ls-tree", "-r", "--name-only", "p0"}) == ".skepignore\na\ne/d");
}

TEST_CASE("results are held by one at a time, and whoever comes second is told at once") {
  swarm_results w;
  w.user.put("a", "a\n");
  w.user.commit();
  w.begin();
  auto first = hold_results(w.dir());
  REQUIRE(first.ok());
  auto second = hold_results(w.dir());
  REQUIRE_FALSE(second.ok());
  CHECK(second.err().code == errc::apply_running);
  CHECK(second.err().message == w.dir());
  first->reset();
  CHECK(hold_results(w.dir()).ok());
  CHECK(hold_results(w.dir() + "/nowhere").err().code == errc::file_not_found);
}

TEST_CASE(
    "a filter of the user's runs on an agent's files as the user's own program, not as the one "
    "that the agent brought",
    "[owasp-a03]") {
  filtered_repo w;
  w.user.put(".gitattributes", "*.dat filter=x\n");
  w.user.put("a.dat", "a secret\n");
  w.user.put("plain", "a secret\n");
  w.user.commit();
  REQUIRE(git(w.user.path, {"show", "main:a.dat"}) == "a HIDDEN");
  w.begin();
  w.pane("p0", [&](const repo& r) {
    w.agent_brings_program(r);
    r.put("a.dat", "a secret of the agent\n");
    r.put("d/new.dat", "a new secret\n", 0755);
    r.put("plain", "a secret of the agent\n");
  });
  w.branch();
  CHECK(git(w.user.path, {"show", "p0:a.dat"}) == "a HIDDEN of the agent");
  CHECK(git(w.user.path, {"show", "p0:d/new.dat"}) == "a new HIDDEN");
  CHECK(git(w.user.path, {"show", "p0:plain"}) == "a secret of the agent");
  CHECK(git(w.user.path, {"ls-tree", "p0", "a.dat"}).starts_with("100644 blob "));
  CHECK(git(w.user.path, {"ls-tree", "p0", "d/new.dat"}).starts_with("100755 blob "));
  CHECK(git(w.user.path, {"show", "p0:f.sh"}).find("owned") != std::string::npos);
  CHECK(get(w.user / "f.sh").find("owned") == std::string::npos);
}

TEST_CASE("attributes that an agent brings choose no filter, whatever its name is", "[owasp-a03]") {
  filtered_repo w;
  git(w.user.path, {"config", "filter.x.required", "true"});
  git(w.user.path, {"config", "filter.y=z.clean", "./f.sh"});
  git(w.user.path, {"config", "filter.Long.process", "./f.sh"});
  w.user.put("a.dat", "a\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [&](const repo& r) {
    w.agent_brings_program(r);
    r.put(".gitattributes", "*.dat filter=x\n*.two filter=y=z\n*.long filter=Long\n");
    for (const char* name : {"a.dat", "a.two", "a.long"})
      r.put(name, "a secret\n");
  });
  w.branch();
  for (const char* name : {"a.dat", "a.two", "a.long"}) {
    INFO(name);
    CHECK(git(w.user.path, {"show", std::string{"p0:"} + name}) == "a secret");
  }
  CHECK(git(w.user.path, {"show", "p0:.gitattributes"}).starts_with("*.dat filter=x\n"));
}

TEST_CASE("an agent that takes the user's attributes away or changes them takes no file out of its "
          "filter") {
  filtered_repo w;
  w.user.put(".gitattributes", "*.dat filter=x\n");
  w.user.put("d/.gitattributes", "*.bin filter=x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put(".gitattributes", "*.dat -filter\n");
    std::filesystem::remove(r / "d/.gitattributes");
    r.put("a.dat", "a secret\n");
    r.put("d/b.bin", "b secret\n");
  });
  // Nor does the user who has another commit checked out by now: then the start's attributes count.
  std::filesystem::remove(w.user / "d/.gitattributes");
  w.branch();
  CHECK(git(w.user.path, {"show", "p0:a.dat"}) == "a HIDDEN");
  CHECK(git(w.user.path, {"show", "p0:d/b.bin"}) == "b HIDDEN");
}

TEST_CASE("what was not committed when the swarm began goes through the user's filter, which does "
          "not lie beside it") {
  filtered_repo w;
  w.user.put(".gitattributes", "*.dat filter=x\n");
  w.user.put("a.dat", "a\n");
  w.user.commit();
  w.user.put("a.dat", "a secret, not committed\n");
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("b", "b\n"); });
  // Beside results lie originals of what was not committed or was changed, and no others.
  std::filesystem::remove(w.dir() + "/base/f.sh");
  auto made = w.branch();
  CHECK(made.snapshot);
  CHECK(git(w.user.path, {"show", "p0~1:a.dat"}) == "a HIDDEN, not committed");
  CHECK(git(w.user.path, {"show", "p0:a.dat"}) == "a HIDDEN, not committed");
  CHECK(git(w.user.path, {"show", "p0:b"}) == "b");
}

TEST_CASE("a filter of the user's that is required and fails makes no branch") {
  filtered_repo w;
  w.user.put(".gitattributes", "*.dat filter=x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("a.dat", "a secret\n"); });
  git(w.user.path, {"config", "filter.x.clean", "./nowhere.sh"});
  git(w.user.path, {"config", "filter.x.required", "true"});
  auto refused = make_branch(w.dir(), w.base(), w.panes().at(0),
                             {w.user.path, "p0", {}, {"Ada", "ada@example.org", "options", false}});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::io);
  CHECK(refused.err().cause.find("clean filter 'x' failed") != std::string::npos);
  CHECK(git(w.user.path, {"for-each-ref", "--format=%(refname)"}) == "refs/heads/main");
}
