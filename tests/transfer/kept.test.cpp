// What counts as a pane among the results of a swarm.
#include "transfer/kept.hpp"
#include "tests/transfer/results_fixture.hpp"
#include "transfer/apply.hpp"

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

TEST_CASE("a changes.json of the user's own, kept with the originals, makes the base no pane") {
  swarm_results w;
  w.user.put("a", "a\n");
  w.user.put("changes.json", "[1]\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("a", "agent\n");
    r.put("changes.json", "[2]\n");
  });
  REQUIRE(get(w.dir() + "/base/changes.json") == "[1]\n");
  put(w.dir() + "/base.part/changes.json", "[1]\n"); // of a daemon that died meanwhile
  CHECK(kept_names(w.dir()) == std::vector<std::string>{"p0"});
  auto panes = w.panes();
  REQUIRE(panes.size() == 1);
  CHECK(panes[0].summary.modified == std::vector<std::string>{"a", "changes.json"});
  REQUIRE(take_over(w.dir(), w.base(), panes, {w.user.path, take_mode::files, false}).ok());
  CHECK(get(w.user / "a") == "agent\n");
  CHECK(get(w.user / "changes.json") == "[2]\n");
}

TEST_CASE("no pane has a name that the base has among the results, or more than a name") {
  temp t;
  for (const char* name : {"p0", "sandbox-0", "base2", "changes.json"})
    CHECK(can_name_pane(name));
  for (const char* name : {"base", "base.part", "", "..", "a/b"}) {
    INFO(name);
    CHECK_FALSE(can_name_pane(name));
    CHECK(read_pane(t.path, name).err().code == errc::bad_argument);
    CHECK(collect_pane(t / "p", t / "t", t.path, name, {}).err().code == errc::bad_argument);
  }
}
