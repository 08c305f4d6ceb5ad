// `skep run` on a terminal: what is still to be read there when it is over.
#include "messages/records.hpp"
#include "tests/cli/terminal.hpp"
#include "tests/support/catch.hpp"
#include "tests/transfer/results_fixture.hpp"

#include <sstream>

using namespace skep;
using namespace skep::cli_test;

namespace {

constexpr auto collides = "a.py was changed by p0, p1: their changes do not go together";

/// Results of two panes that collide, as a run named collides gets them.
struct colliding : test::swarm_results {
  explicit colliding(const cli_world& w) {
    user.put("a.py", "one\n");
    user.commit();
    begin();
    pane("p0", [](const test::repo& r) { r.put("a.py", "ONE\n"); });
    pane("p1", [](const test::repo& r) { r.put("a.py", "1\n"); });
    swarm_summary summary;
    summary.conflicts = {"p0", "p1"};
    summary.collisions = {{"a.py", {"p0", "p1"}, overlap::conflict},
                          {"b.py", {"p0", "p1"}, overlap::paths}};
    write_text(dir() + "/summary.json", to_line(to_json(summary)));
    std::filesystem::create_directories(w.state);
    std::filesystem::permissions(w.state, std::filesystem::perms::owner_all);
    write_text(w.state + "/fake-results", dir());
    std::filesystem::create_directories(w.repo + "/skep-out");
  }
};

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in{text};
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);)
    out.push_back(line);
  return out;
}

/// The only line with `part`.
std::string line_with(const std::string& text, const std::string& part) {
  std::string out;
  std::size_t found = 0;
  for (const auto& line : lines_of(text))
    if (line.find(part) != std::string::npos) {
      out = line;
      ++found;
    }
  INFO(part);
  CHECK(found == 1);
  return out;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1))
    ++n;
  return n;
}

std::vector<std::string> run_named(const cli_world& w, const std::string& name) {
  return w.argv({"run", "--repo", w.repo, "--panes", "2", "--name", name, "--", "true"});
}

} // namespace

TEST_CASE("on a terminal warnings stay above the view, and the end lists what collides") {
  cli_world w;
  colliding results{w};
  fake_daemon daemon{w};
  on_terminal run{run_named(w, "collides"), w.home};
  REQUIRE(run.shows("p1 running"));
  run.type("\x03");
  CHECK(run.wait() == 130);
  auto text = run.text();
  INFO(text);
  CHECK(count_of(text, std::string{"\n"} + collides) == 1); // told when it happened
  CHECK(text.find(std::string{"\nCollisions:\n  "} + collides + "\n") != std::string::npos);
  CHECK(text.find("\nswarm.patch leaves out p0, p1") != std::string::npos);
  CHECK(text.find("a step like others") == std::string::npos);
  CHECK(text.find("b.py") == std::string::npos); // these go together
}

TEST_CASE("the end of a run with changes names the commands that show and take them over") {
  cli_world w;
  colliding results{w};
  fake_daemon daemon{w};
  background run{run_named(w, "collides"), w.home};
  REQUIRE(run.shows("p1 started"));
  run.signal(SIGINT);
  CHECK(run.wait() == 130);
  auto next = line_with(run.text(), "`skep diff sw_");
  CHECK(next.find("`skep apply sw_") != std::string::npos);
  CHECK(next.find('\x1b') == std::string::npos);
  CHECK(run.text().find("Collisions:\n") != std::string::npos);
  CHECK(w.run({"--name", "completes", "--", "true"}).out.find("skep diff") == std::string::npos);
  auto document = w.run({"--name", "completes", "--json", "--", "true"});
  CHECK(document.out.find("skep diff") == std::string::npos);
}

TEST_CASE("Ctrl+C leaves no rubbish on a terminal, and the table of a cancelled run fits into it") {
  cli_world w;
  fake_daemon daemon{w};
  on_terminal run{run_named(w, "runs"), w.home, 70};
  REQUIRE(run.shows("p1 running"));
  run.type("\x03");
  CHECK(run.wait() == 130);
  auto text = run.text();
  INFO(text);
  CHECK(line_with(text, "Stopping sw_").starts_with("Stopping sw_"));
  CHECK(text.find("^C") == std::string::npos);
  CHECK(text.find(" panes  ") == std::string::npos); // the view is gone
  auto head = line_with(text, "PANE ");
  CHECK(head.ends_with("TOKENS"));
  CHECK(text.find("pn_") == std::string::npos); // the ids stand where there is room
  CHECK(w.run({"--name", "completes", "--", "true"}).out.find("  pn_") != std::string::npos);
  // A second one, at a swarm that takes its time.
  on_terminal stubborn{run_named(w, "stubborn"), w.home};
  REQUIRE(stubborn.shows("p1 running"));
  stubborn.type("\x03");
  REQUIRE(stubborn.shows("Stopping sw_"));
  REQUIRE(stubborn.shows("stopping  "));
  stubborn.type("\x03");
  CHECK(stubborn.wait() == 130);
  INFO(stubborn.text());
  CHECK(line_with(stubborn.text(), " is being stopped").starts_with("sw_"));
  CHECK(stubborn.text().find("^C") == std::string::npos);
}

TEST_CASE("a view that is wider than the terminal is cut, and every line of it is drawn over") {
  cli_world w;
  fake_daemon daemon{w};
  on_terminal run{run_named(w, "runs"), w.home, 40};
  REQUIRE(run.shows("p0 running"));
  CHECK(run.text().find("p1 running") == std::string::npos); // does not fit beside it
  run.type("\x03");
  CHECK(run.wait() == 130);
  auto text = run.text();
  INFO(text);
  CHECK(text.find("p0 running") == std::string::npos);
  CHECK(text.find(" panes  ") == std::string::npos);
}

TEST_CASE("ps and status fit into their terminal, and leave nothing out in a pipe") {
  cli_world w;
  fake_daemon daemon{w};
  REQUIRE(w.run({"--name", "completes", "--", "true"}).code == 0);
  auto piped = w.skep({"ps", "--all"}).lines();
  REQUIRE(piped.size() == 2);
  for (const char* head : {" NAME ", " AGENT ", " OPEN SB ", " OPEN PANES ", " AGE"})
    CHECK(piped.at(0).find(head) != std::string::npos);
  const auto swarm = piped.at(1).substr(0, piped.at(1).find(' '));
  for (unsigned short width : {120, 80, 60, 40}) {
    on_terminal list{w.argv({"ps", "--all"}), w.home, width};
    CHECK(list.wait() == 0);
    auto lines = lines_of(list.text());
    INFO(width << ":\n" << list.text());
    REQUIRE(lines.size() == 2); // a screen breaks lines that are too long
    CHECK((lines.at(0).find(" AGENT ") != std::string::npos) == (width == 120));
    CHECK(lines.at(0).find("  STATE") != std::string::npos);
  }
  on_terminal one{w.argv({"status", swarm}), w.home, 80};
  CHECK(one.wait() == 0);
  INFO(one.text());
  CHECK(line_with(one.text(), "PANE ").ends_with("TOKENS"));
  CHECK(line_with(one.text(), "SANDBOX ").starts_with("SANDBOX "));
}
