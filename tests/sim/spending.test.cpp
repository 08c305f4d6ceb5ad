// What scripted agents spend, and how it is bounded: budgets rehearsed.
#include "tests/sim/sim_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

json books(simulator& sim, const sandbox& s, const std::string& query = {}) {
  return body_of(sim->call("GET", "/skep/v1/sandboxes/" + s.id + "/usage" + query));
}

json bound(simulator& sim, const sandbox& s, const json& most) {
  auto answer = sim->call("PUT", "/skep/v1/sandboxes/" + s.id + "/allowance", most.dump());
  REQUIRE(answer.status == 200);
  return body_of(answer)["gateway"]["allowance"];
}

} // namespace

TEST_CASE("what a scripted agent costs stands in the books of its sandbox, call by call") {
  simulator sim;
  auto s = sim->create(), other = sim->create();
  CHECK(sim->run(s, "sim-agent --lines 3 --interval-ms 0 --cost 0.1 > first").empty());
  auto out = sim->run(s, "sim-agent --lines 3 --interval-ms 0 --cost 0.1");
  CHECK(out.ends_with("finished, cost_usd=0.1000\n"));
  auto usage = books(sim, s);
  CHECK(usage["cursor"] == 6);
  CHECK(usage["oldest"] == 1);
  CHECK(usage["gateway"]["microUsd"] == 200'000);
  CHECK(usage["gateway"]["requests"] == 6);
  CHECK(usage["gateway"]["unpricedCalls"] == 0);
  const auto& model = usage["gateway"]["models"]["simulated"];
  CHECK(model["calls"] == 6);
  CHECK(model["microUsd"] == 200'000);
  CHECK(model["tokens"]["input"].get<int>() + 5 * model["tokens"]["output"].get<int>() == 200'000);
  CHECK(usage["gateway"]["inputTokens"] == model["tokens"]["input"]);
  auto rest = books(sim, s, "?after=5");
  REQUIRE(rest["calls"].size() == 1);
  CHECK(rest["calls"][0]["seq"] == 6);
  CHECK(rest["calls"][0]["model"] == "simulated");
  CHECK(books(sim, other)["gateway"]["microUsd"] == 0);
}

TEST_CASE("a scripted agent stops before the call that its sandbox has nothing left for") {
  simulator sim;
  auto s = sim->create();
  auto most = bound(sim, s, {{"microUsd", 30'000}});
  CHECK(most["microUsd"] == 30'000);
  CHECK(most["usedUp"] == false);
  auto agent = sim->start(s, "sim-agent --lines 10 --interval-ms 0 --cost 0.1");
  agent.finish();
  CHECK(agent.end.value("exitCode", 0) == 1);
  CHECK(agent.out.ends_with("stopped: 402 gateway: the allowance of this sandbox is used up, "
                            "cost_usd=0.0300\n"));
  auto usage = books(sim, s);
  CHECK(usage["gateway"]["microUsd"] == 30'000);
  CHECK(usage["gateway"]["allowance"]["usedUp"] == true);
  CHECK(usage["gateway"]["refused"] == 1);
  CHECK(bound(sim, s, {{"microUsd", nullptr}})["usedUp"] == false);
  CHECK(sim->run(s, "sim-agent --lines 1 --cost 0.01").ends_with("finished, cost_usd=0.0100\n"));
  auto noted = sim.record("allowance");
  REQUIRE(noted.size() == 2);
  CHECK(noted[0]["micro_usd"] == 30'000);
  CHECK(noted[1]["micro_usd"].is_null());
}

TEST_CASE("a scripted agent that is called claude tells the refusal as Claude Code does") {
  simulator sim;
  auto s = sim->create();
  bound(sim, s, {{"tokens", 0}});
  auto agent = sim->start(s, "echo x > claude; chmod 755 claude; echo work | ./claude -p");
  agent.finish();
  CHECK(agent.end.value("exitCode", 0) == 1);
  auto last = json::parse(agent.out.substr(agent.out.rfind('\n', agent.out.size() - 2) + 1));
  CHECK(last["is_error"] == true);
  CHECK(last["total_cost_usd"] == 0.0);
  CHECK(last["result"] == "API Error: 402 gateway: the allowance of this sandbox is used up");
}

TEST_CASE("a scripted agent without keys is refused until new rules bring some") {
  simulator sim;
  auto s = sim->create();
  auto revoked = sim->call("DELETE", "/skep/v1/sandboxes/" + s.id + "/keys");
  REQUIRE(revoked.status == 200);
  CHECK(body_of(revoked)["gateway"]["keysRevoked"] == true);
  CHECK(sim->run(s, "sim-agent --lines 2 --cost 0.01")
            .ends_with("stopped: 403 gateway: the keys of this sandbox were revoked, "
                       "cost_usd=0.0000\n"));
  CHECK(sim->call("PUT", "/sandboxes/" + s.id + "/network", "{}").status == 204);
  CHECK(sim->run(s, "sim-agent --lines 2 --cost 0.01").ends_with("finished, cost_usd=0.0100\n"));
  CHECK(books(sim, s)["gateway"]["keysRevoked"] == false);
  CHECK(sim.record("keys_revoked").size() == 1);
}
