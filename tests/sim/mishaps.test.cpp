// What can go wrong in a simulation, each kind by itself and always.
#include "tests/sim/sim_fixture.hpp"

#include <algorithm>
#include <set>

using namespace skep;
using namespace skep::test;

namespace {

json faults(json f) {
  json out = json::object();
  out["faults"] = std::move(f);
  return out;
}

answer post_create(const simulator& sim) {
  return sim->call("POST", "/v2/sandboxes", create_body);
}

/// One session with the same requests every time; what the record holds afterwards.
std::vector<json> rehearse(const std::string& seed) {
  simulator sim{faults({{"rate_percent", {{"create", 20}}},
                        {"error_percent", 10},
                        {"lost_create_percent", 20},
                        {"garbage_percent", {{"control", 10}}},
                        {"early_death_percent", 0}}),
                seed};
  for (int i = 0; i < 40; ++i) {
    auto c = sim->connect();
    c.send(host_process::text("POST", "/v2/sandboxes", create_body, {}));
    // Lost answers may be silent ones: the record, not the answer, says when it was served.
    auto served = [&] {
      std::size_t n = 0;
      for (const auto& x : sim.record())
        n +=
            x.at("event") == "create" || (x.at("event") == "fault" && x.at("kind") != "lost_reply");
      return n > static_cast<std::size_t>(i);
    };
    if (!until(served)) give_up("a create was not served");
  }
  // A list is ordered by time, and several were made in one millisecond.
  auto ids = sim.listed();
  std::sort(ids.begin(), ids.end());
  for (const auto& id : ids)
    sim->call("DELETE", "/sandboxes/" + id);
  return sim.record();
}

} // namespace

TEST_CASE("a step that a scenario breaks fails each time, and everything else works") {
  simulator sim{faults({{"requests", {{{"what", "GET /sandboxes/{}"}, {"after", 1}}}}})};
  auto made = post_create(sim);
  REQUIRE(made.status == 201);
  auto id = body_of(made).at("sandboxID").get<std::string>();
  CHECK(sim->call("GET", "/sandboxes/" + id).status == 200);
  for (int i = 0; i < 3; ++i)
    CHECK(sim->call("GET", "/sandboxes/" + id).status == 500);
  CHECK(sim->call("DELETE", "/sandboxes/" + id).status == 204);
}

TEST_CASE(
    "two runs with one seed write the same record but for the times, another seed another one") {
  auto first = rehearse("11"), second = rehearse("11"), third = rehearse("12");
  CHECK(first.size() > 60);
  bool same = first == second, differs = first != third; // not printed: they are long
  CHECK(same);
  CHECK(differs);
}

TEST_CASE("simulated refusals look like the provider's own") {
  simulator rate{faults({{"rate_percent", 100}, {"retry_after_s", 3}})};
  auto limited = post_create(rate);
  CHECK(limited.status == 429);
  CHECK(limited.headers["retry-after"] == "3");
  CHECK(body_of(limited).value("code", 0) == 429);

  simulator quota{faults({{"quota_percent", 100}})};
  auto full = post_create(quota);
  CHECK(full.status == 429);
  CHECK_FALSE(full.has("retry-after"));

  simulator gateway{faults({{"bad_gateway_percent", 100}})};
  auto bad = post_create(gateway);
  CHECK(bad.status == 502);
  CHECK(body_of(bad).is_discarded());
  CHECK(bad.headers["content-type"] == "text/html");

  simulator broken{faults({{"error_percent", 100}})};
  std::set<int> seen;
  for (int i = 0; i < 20; ++i)
    seen.insert(post_create(broken).status);
  CHECK(seen == std::set<int>{500, 503});

  simulator garbage{faults({{"garbage_percent", 100}})};
  auto nonsense = post_create(garbage);
  CHECK(nonsense.status == 200);
  CHECK(body_of(nonsense).is_discarded());
  for (auto* sim : {&rate, &quota, &gateway, &broken, &garbage})
    CHECK(sim->record("create").empty());
}

TEST_CASE(
    "a create whose answer is lost has happened, whether the connection closes or stays silent") {
  simulator sim{faults({{"lost_create_percent", 100}})};
  std::vector<raw_connection> open;
  for (int i = 0; i < 8; ++i) {
    open.push_back(sim->connect());
    open.back().send(host_process::text("POST", "/v2/sandboxes", create_body, {}));
  }
  CHECK(until([&] { return sim.record("create").size() == 8; }));
  CHECK(sim.listed().size() == 8);
  int closed = 0;
  for (auto& c : open) {
    pollfd p{c.fd(), POLLIN, 0};
    char byte = 0;
    if (::poll(&p, 1, 0) == 1 && ::recv(c.fd(), &byte, 1, 0) == 0) ++closed;
  }
  CHECK(closed > 0);
  CHECK(closed < 8);
}

TEST_CASE("a late create happens after its client has gone") {
  simulator sim{faults({{"late_create_percent", 100}, {"late_create_ms", 300}})};
  {
    auto c = sim->connect();
    c.send(host_process::text("POST", "/v2/sandboxes", create_body, {}));
    REQUIRE(until([&] { return sim.record("fault").size() == 1; }));
    CHECK(sim.record("create").empty());
  }
  CHECK(until([&] { return sim.record("create").size() == 1; }));
}

TEST_CASE("a hung call is never answered and does nothing, others go on") {
  simulator sim{faults({{"hang_percent", {{"create", 100}}}})};
  auto c = sim->connect();
  c.send(host_process::text("POST", "/v2/sandboxes", create_body, {}));
  CHECK(until([&] { return sim.record("fault").size() == 1; }));
  CHECK(sim.listed().empty());
  pollfd p{c.fd(), POLLIN, 0};
  CHECK(::poll(&p, 1, 0) == 0);
}

TEST_CASE("a lagging list shows the world as it was, a get shows it as it is") {
  simulator sim{faults({{"list_lag_ms", 1500}})};
  auto s = sim->create();
  CHECK(sim.listed().empty());
  CHECK(sim->call("GET", "/sandboxes/" + s.id).status == 200);
  REQUIRE(until([&] { return sim.listed().size() == 1; }));
  CHECK(sim->call("DELETE", "/sandboxes/" + s.id).status == 204);
  CHECK(sim.listed().size() == 1);
  CHECK(sim->call("GET", "/sandboxes/" + s.id).status == 404);
  CHECK(until([&] { return sim.listed().empty(); }));
}

TEST_CASE("streams are cut in the middle of an envelope or deliver envelopes twice") {
  simulator cut{faults({{"cut_percent", 100}, {"cut_after_bytes", 60}})};
  auto s = cut->create();
  auto broken = cut->start(s, "echo a; echo b; echo c");
  CHECK_THROWS(broken.finish());
  CHECK(broken.started > 0);

  simulator twice{faults({{"repeat_percent", 100}})};
  auto t = twice->create();
  CHECK(twice->run(t, "echo a; echo b") == "a\na\nb\nb\n");
}

TEST_CASE("sandboxes die early as often as the scenario wants, never the foreign ones") {
  json scenario = faults({{"early_death_percent", 100}, {"early_death_ms", 50}});
  scenario["foreign"] = json::array({{{"metadata", {{"owner", "somebody"}}}}});
  simulator sim{scenario};
  auto s = sim->create();
  CHECK(until([&] { return sim->call("GET", "/sandboxes/" + s.id).status == 404; }));
  auto kills = sim.record("kill");
  REQUIRE(kills.size() == 1);
  CHECK(kills[0].at("why") == "died");
  auto creates = sim.record("create");
  REQUIRE(creates.size() == 2);
  CHECK(creates[0].at("foreign") == true);
  CHECK(creates[0].at("metadata").at("owner") == "somebody");
  CHECK(sim.listed() == std::vector<std::string>{creates[0].at("sandbox").get<std::string>()});
}

TEST_CASE("a simulated restart breaks streams and answers 503 for a while, sandboxes live on") {
  simulator sim{faults({{"restart_after_creates", {2}}, {"restart_down_ms", 300}})};
  auto s = sim->create();
  auto stream = sim->start(s, "echo ready; sleep 600");
  auto pid = stream.pid();
  CHECK(stream.event().contains("data"));
  sim->call("POST", "/v2/sandboxes", create_body);
  CHECK_THROWS(stream.finish());
  CHECK(sim->call("GET", "/v2/sandboxes").status == 503);
  REQUIRE(until([&] { return sim->call("GET", "/v2/sandboxes").status == 200; }));
  CHECK(sim.listed().size() == 2);
  CHECK(sim->run(s, "kill " + std::to_string(pid) + " && echo killed") == "killed\n");
}
