// A subscriber in another language, written from docs/protocol.md, has every event once and in
// order, also when it was cut off.
#include "tests/cli/program.hpp"
#include "tests/support/skip.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace {

/// "seq type body" of every event line; the last line, which says how it ended, is left out.
std::vector<std::string> events_of(const std::string& output) {
  std::vector<std::string> out;
  finished x{0, output, {}};
  for (const auto& line : x.lines()) {
    auto e = json::parse(line, nullptr, false);
    if (e.is_object() && e.contains("seq"))
      out.push_back(e["seq"].dump() + " " + e["type"].dump() + " " + e["body"].dump());
  }
  return out;
}

} // namespace

TEST_CASE("a peer in Python that was cut off has the same list as one that reads all afterwards") {
  cli_world w;
  if (run_to_end({"/usr/bin/python3", "-c", "import zmq, msgpack"}, w.home).code != 0)
    SKEP_SKIP("Python's zmq and msgpack are not installed");
  const auto peer = std::string{std::getenv("SKEP_SOURCE")} + "/tests/peer/subscriber.py";
  fake_daemon daemon{w};
  auto begin = [&] {
    return w.run({"--name", "completes", "--panes", "20", "--detach", "--", "true"}).code;
  };
  REQUIRE(begin() == 0);
  background live{{"/usr/bin/python3", peer, "--state", w.state, "--from", "1", "--cut-after", "20",
                   "--cut-misses", "100", "--count", "400", "--deadline", "20"},
                  w.home};
  REQUIRE(live.shows("\"seq\": 10"));
  for (int i = 0; i < 5; ++i)
    REQUIRE(begin() == 0);
  CHECK(live.wait() == 0);
  auto seen = events_of(live.text());
  CHECK(seen.size() == 400);
  auto end = json::parse(finished{0, live.text(), {}}.lines().back(), nullptr, false);
  CHECK(end["cut"].get<int>() >= 100);

  auto later = run_to_end({"/usr/bin/python3", peer, "--state", w.state, "--from", "1",
                           "--until-head", "--deadline", "20"},
                          w.home);
  INFO(later.err);
  CHECK(later.code == 0);
  auto all = events_of(later.out);
  REQUIRE(all.size() >= 400);
  all.resize(400);
  CHECK(seen == all);
}
