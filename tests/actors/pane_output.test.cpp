// Scripts of what an agent's output tells: blocks, its account, and each byte once.
#include "tests/actors/pane_world.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE_METHOD(pane_world, "an agent with very many blocks floods no journal, and how many were "
                             "left out is told once") {
  spec->agent = agent_kind::claude;
  spec->argv.clear();
  spec->prompts = {"work"};
  svc->limits.pane_notes = {20, 10};
  begin();
  settle();
  auto say = [&](int times) {
    const std::string line =
        R"({"type":"assistant","message":{"content":[{"type":"text","text":"x"}]}})"
        "\n";
    for (int i = 0; i < times; ++i)
      outputs(line);
    advance(20ms);
  };
  say(500);
  CHECK(count("pane.block") == 20);
  CHECK(count("pane.blocks_suppressed") == 0); // until it goes on, or ends
  advance(3s);
  say(1);
  CHECK(count("pane.block") == 21);
  auto told = all<notes_suppressed>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].count == 480);
  CHECK(told[0].attempt == 1);
  CHECK(told[0].since.time_since_epoch().count() > 0);
  say(500);
  exit(0);
  settle();
  CHECK(all<notes_suppressed>().size() == 2); // with its end
  CHECK(count("pane.block") < 60);
}

namespace {

/// An agent with two results: what it costs is 0.75 in all, since its figures are running totals.
struct account_world : pane_world {
  const std::string results =
      R"({"type":"result","total_cost_usd":0.5,"num_turns":1,"result":"one",)"
      R"("usage":{"input_tokens":100,"output_tokens":10}})"
      "\n"
      R"({"type":"result","total_cost_usd":0.75,"num_turns":2,"result":"two",)"
      R"("usage":{"input_tokens":200,"output_tokens":20}})"
      "\n";

  account_world() { runs_claude(); }
  /// All that was told, as the tables add it up.
  pane_usage told() const {
    pane_usage sum;
    for (const auto& u : all<pane_usage>()) {
      CHECK(u.pane == rec.pane);
      sum.cost_usd += u.cost_usd;
      sum.input_tokens += u.input_tokens;
      sum.output_tokens += u.output_tokens;
      sum.turns += u.turns;
      if (!u.summary.empty()) sum.summary = u.summary;
    }
    return sum;
  }
  void check_told() const {
    CHECK(told().cost_usd == 0.75);
    CHECK(told().input_tokens == 300);
    CHECK(told().output_tokens == 30);
    CHECK(told().turns == 3);
    CHECK(told().summary == "two");
  }
};

} // namespace

TEST_CASE_METHOD(account_world, "the account of an agent with several results is all of them") {
  SECTION("as they come") {
    begin();
    settle();
    outputs(results);
    exit(0);
    settle();
    check_told();
  }
  SECTION("of an agent that was taken up, from its log") {
    log_holds(results);
    rec.state = pane_phase::running;
    rec.attempt = 1;
    begin();
    settle();
    CHECK(count("pane.usage") == 0); // nothing was told before its end
    exit(0);
    settle();
    check_told();
  }
  SECTION("of an attempt that is followed by another one") {
    spec->pane_restarts = 1;
    begin();
    settle();
    outputs(results);
    exit(1);
    settle();
    CHECK(count("pane.restarting") == 1);
    check_told();
  }
  CHECK(count("pane.usage") == 1);
}

TEST_CASE_METHOD(account_world,
                 "the account of an agent that is killed comes before its pane's end") {
  begin();
  settle();
  outputs(results);
  tell(stop_a::value, stop_mode::kill);
  check_told();
  auto all_of_it = events();
  REQUIRE(all_of_it.size() >= 2);
  CHECK(all_of_it[all_of_it.size() - 2] == "pane.usage");
  CHECK(all_of_it.back() == "pane.closed");
}

TEST_CASE_METHOD(account_world, "an account that a former daemon told is not told again") {
  log_holds(results);
  rec.state = pane_phase::exited;
  rec.attempt = 1;
  begin();
  settle();
  CHECK(count("pane.closed") == 1);
  CHECK(count("pane.usage") == 0);
}

TEST_CASE_METHOD(pane_world, "output that a pane has read from its log is not read once more") {
  runs_claude();
  const std::string line =
      R"({"type":"assistant","message":{"content":[{"type":"text","text":"one"}]}})"
      "\n";
  const std::string end =
      R"({"type":"result","subtype":"success","is_error":false,"result":"done"})"
      "\n";
  log_holds(line.substr(0, 30));
  rec.state = pane_phase::running;
  rec.attempt = 1;
  begin();
  settle();
  outputs(line); // the poller sends what it had written, and the rest
  advance(20ms);
  auto blocks = all<agent_block>();
  REQUIRE(blocks.size() == 1);
  CHECK(blocks[0].kind == block_kind::text);
  CHECK(blocks[0].text == "one");
  tell(output_a::value, std::uint32_t{1}, std::uint64_t{0}, line);
  advance(20ms);
  CHECK(count("pane.block") == 1);
  outputs(end);
  exit(0);
  settle();
  CHECK(all<pane_closed>().at(0).result == outcome::completed);
}
