#include "transfer/collision.hpp"
#include "tests/transfer/results_fixture.hpp"

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;

namespace {

std::string hundred_lines(std::map<int, std::string> changed = {}) {
  std::string out;
  for (int i = 0; i < 100; ++i)
    out += (changed.contains(i) ? changed[i] : "line " + std::to_string(i)) + "\n";
  return out;
}

const collision* met_at(const collisions_found& x, const std::string& path) {
  for (const auto& c : x.list)
    if (c.path == path) return &c;
  return nullptr;
}

} // namespace

TEST_CASE(
    "panes that change the same paths are told apart by paths, by lines and by a trial merge") {
  swarm_results w;
  for (const char* name : {"apart", "near", "against", "alike", "alone", "deleted"})
    w.user.put(name, hundred_lines());
  w.user.put("picture", std::string("a\0b", 3));
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) {
    r.put("apart", hundred_lines({{3, "p0"}}));
    r.put("near", hundred_lines({{10, "both"}, {50, "p0"}}));
    r.put("against", hundred_lines({{7, "p0"}}));
    r.put("alike", hundred_lines({{1, "same"}}));
    r.put("alone", hundred_lines({{1, "p0"}}));
  });
  w.pane("p1", [](const repo& r) {
    r.put("apart", hundred_lines({{90, "p1"}}));
    r.put("near", hundred_lines({{10, "both"}, {80, "p1"}}));
    r.put("alike", hundred_lines({{1, "same"}}));
  });
  w.pane("p2", [](const repo& r) {
    r.put("against", hundred_lines({{7, "p2"}}));
    r.put("picture", std::string("c\0d", 3));
    std::filesystem::remove(r / "deleted");
  });
  w.pane("p3", [](const repo& r) {
    r.put("picture", std::string("e\0f", 3));
    r.put("deleted", hundred_lines({{1, "p3"}}));
  });
  w.pane("p4", [](const repo&) {});
  auto x = find_collisions(w.dir(), w.base(), w.panes());
  REQUIRE(x.ok());
  REQUIRE(met_at(*x, "apart"));
  CHECK(met_at(*x, "apart")->level == overlap::paths);
  CHECK(met_at(*x, "apart")->panes == std::vector<std::string>{"p0", "p1"});
  CHECK(met_at(*x, "near")->level == overlap::hunks);
  CHECK(met_at(*x, "against")->level == overlap::conflict);
  CHECK(met_at(*x, "against")->panes == std::vector<std::string>{"p0", "p2"});
  CHECK(met_at(*x, "alike")->level == overlap::same);
  CHECK(met_at(*x, "picture")->level == overlap::conflict);
  CHECK(met_at(*x, "deleted")->level == overlap::conflict);
  CHECK_FALSE(met_at(*x, "alone"));
  CHECK(x->list.front().level == overlap::conflict); // worst first
  CHECK(x->left_out == 0);
  // p4 changed nothing; p3 shares the fewest paths; what cannot be merged comes last.
  CHECK(x->order.size() == 4);
  CHECK(x->order.front() == "p3");
  CHECK(x->unmergeable == std::vector<std::string>{"p2"});
  CHECK(x->order.back() == "p2");

  std::set<std::string> only{"p1"};
  auto some = find_collisions(w.dir(), w.base(), w.panes(), &only);
  REQUIRE(some.ok());
  CHECK(met_at(*some, "apart"));
  CHECK_FALSE(met_at(*some, "against"));
}

TEST_CASE("two panes that copy other content to one path collide there, not at what they copied") {
  swarm_results w;
  w.user.put("a", hundred_lines());
  w.user.commit();
  w.begin();
  w.copies = {{"copy", "a"}};
  w.pane("p0", [](const repo& r) { r.put("copy", hundred_lines()); });
  w.pane("p1", [](const repo& r) { r.put("copy", hundred_lines({{7, "p1"}})); });
  REQUIRE(w.panes().at(1).summary.copied.size() == 1);
  auto x = find_collisions(w.dir(), w.base(), w.panes());
  REQUIRE(x.ok());
  REQUIRE(met_at(*x, "copy"));
  CHECK(met_at(*x, "copy")->panes == std::vector<std::string>{"p0", "p1"});
  CHECK_FALSE(met_at(*x, "a"));
}

TEST_CASE("a file of one pane where another one has a folder is a collision of both paths") {
  swarm_results w;
  w.user.put("a", "x\n");
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("new", "file\n"); });
  w.pane("p1", [](const repo& r) { r.put("new/below", "x\n"); });
  auto x = find_collisions(w.dir(), w.base(), w.panes());
  REQUIRE(x.ok());
  REQUIRE(met_at(*x, "new"));
  CHECK(met_at(*x, "new")->level == overlap::conflict);
  CHECK(met_at(*x, "new/below")->panes == std::vector<std::string>{"p0", "p1"});
  CHECK(x->unmergeable == std::vector<std::string>{"p1"});
}

TEST_CASE("trial merges lie in the folder that is named, and no repository above it is obeyed") {
  swarm_results w;
  w.user.put("a", hundred_lines());
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("a", hundred_lines({{5, "p0"}, {90, "p0"}})); });
  w.pane("p1", [](const repo& r) { r.put("a", hundred_lines({{50, "p1"}})); });
  repo above; // with it, all of p0's changes would be one
  git(above.path, {"config", "diff.interHunkContext", "1000"});
  auto scratch = above / "state/work";
  std::filesystem::create_directories(scratch);
  auto x = find_collisions(w.dir(), w.base(), w.panes(), nullptr, {}, scratch);
  REQUIRE(x.ok());
  REQUIRE(met_at(*x, "a"));
  CHECK(met_at(*x, "a")->level == overlap::paths);
  CHECK(std::filesystem::is_empty(scratch));
  auto nowhere = find_collisions(w.dir(), w.base(), w.panes(), nullptr, {}, above / "none");
  CHECK(nowhere.err().code == errc::io);
}

TEST_CASE("what would need more trial merges than allowed is counted, not guessed") {
  swarm_results w;
  for (int i = 0; i < 6; ++i)
    w.user.put("f" + std::to_string(i), hundred_lines());
  w.user.commit();
  w.begin();
  for (int p = 0; p < 3; ++p)
    w.pane("p" + std::to_string(p), [&](const repo& r) {
      for (int i = 0; i < 6; ++i)
        r.put("f" + std::to_string(i), hundred_lines({{10 + 20 * p, "p" + std::to_string(p)}}));
    });
  collision_limits few;
  few.programs = 4;
  auto x = find_collisions(w.dir(), w.base(), w.panes(), nullptr, few);
  REQUIRE(x.ok());
  CHECK(x->left_out > 0);
  CHECK(x->list.size() + x->left_out == 6);
  CHECK(find_collisions(w.dir(), w.base(), w.panes())->list.size() == 6);
}

TEST_CASE(
    "the order that is proposed is one in which git takes the patches of all that go together") {
  swarm_results w;
  w.user.put("shared", hundred_lines());
  w.user.commit();
  w.begin();
  w.pane("p0", [](const repo& r) { r.put("shared", hundred_lines({{5, "p0"}})); });
  w.pane("p1", [](const repo& r) { r.put("shared", hundred_lines({{5, "p1"}, {60, "p1"}})); });
  w.pane("p2", [](const repo& r) { r.put("shared", hundred_lines({{95, "p2"}})); });
  auto x = find_collisions(w.dir(), w.base(), w.panes());
  REQUIRE(x.ok());
  CHECK(x->unmergeable == std::vector<std::string>{"p1"});
  for (const auto& name : x->order)
    if (name != "p1") git(w.user.path, {"apply", "--3way", w.dir() + "/" + name + ".patch"});
  CHECK(get(w.user / "shared") == hundred_lines({{5, "p0"}, {95, "p2"}}));
}
