// Scripts of a running sandbox and of what follows it: output that breaks, health, loss.
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE_METHOD(sandbox_world, "a sandbox that vanishes is lost once its output gave up") {
  begin();
  api->lose("i100000");
  advance(30s);
  CHECK(ending() == "lost not_found@running");
  CHECK(count("sandbox.poll_failed") == svc->limits.poll_failures);
  CHECK(count("sandbox.kill_intended") == 0);
}

TEST_CASE_METHOD(sandbox_world,
                 "output that fails is told n/5, success resets, the fifth ends it") {
  begin();
  auto breaks = [this] {
    api->streams.back()->fail(make_error(errc::network));
    advance(6s); // longer than any wait
  };
  for (int i = 0; i < 4; ++i)
    breaks();
  output("pn_0", 0, "it works again");
  for (int i = 0; i < 4; ++i)
    breaks();
  CHECK(count("output_incomplete") == 0);
  CHECK(count("sandbox.closed") == 0);
  REQUIRE(api->streams.size() == 9);
  breaks();
  std::vector<std::uint32_t> counts;
  for (const auto& e : all<poll_failed>()) {
    CHECK(e.limit == 5);
    CHECK(e.why.code == errc::network);
    counts.push_back(e.count);
  }
  CHECK(counts == std::vector<std::uint32_t>{1, 2, 3, 4, 1, 2, 3, 4, 5});
  CHECK(api->streams.size() == 9); // polling has stopped
  advance(21s);                    // nobody hears of the agent's end: its graces pass
  CHECK(ending() == "failed network@output");
  auto told = all<notice>();
  auto critical =
      std::find_if(told.begin(), told.end(), [](auto& n) { return n.code == "output_incomplete"; });
  REQUIRE(critical != told.end());
  CHECK(critical->level == severity::error);
  CHECK(all<sandbox_closed>().at(0).why.message.starts_with("output incomplete"));
  CHECK(up.endings.at(0).why.message.starts_with("output incomplete"));
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "an envd that hangs is unhealthy, told, and not lost") {
  begin();
  auto before = api->count(operation::health);
  api->hold(operation::health);
  advance(14s);
  CHECK(api->count(operation::health) == before + 1);
  CHECK(count("unhealthy") == 0);
  advance(2s); // asked at 5 s, its time was over at 15 s
  CHECK(count("unhealthy") == 1);
  CHECK(all<notice>().back().level == severity::warning);
  CHECK(all<notice>().back().text.find("1/3: timed_out") != std::string::npos);
  advance(60s);
  CHECK(count("unhealthy") == 3);
  CHECK(api->count(operation::get) == 1); // the provider still has it
  advance(5min);
  CHECK(count("unhealthy") == 3); // told once, not for ever
  CHECK(phases().back() == "running");
  api->release(operation::health);
  advance(31s);
  CHECK(count("healthy") == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
  auto asked = api->count(operation::health);
  advance(5min);
  CHECK(api->count(operation::health) == asked); // nobody is left to ask
}

TEST_CASE_METHOD(sandbox_world, "failures in between do not add up") {
  begin();
  auto gets = api->count(operation::get);
  for (int i = 0; i < 4; ++i) {
    api->fail(operation::health, make_error(errc::network));
    advance(60s); // one fails, one is good
  }
  CHECK(count("unhealthy") == 4);
  CHECK(count("healthy") == 4);
  CHECK(api->count(operation::get) == gets);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "a sandbox is lost only when the provider says so") {
  begin();
  api->boxes.erase("i100000"); // its streams hang
  api->fail(operation::get, make_error(errc::network));
  advance(6s);
  CHECK(count("unhealthy") == 1);
  CHECK(count("sandbox.closed") == 0); // gone, says the proxy; the provider did not answer
  advance(31s);
  CHECK(ending() == "lost not_found@running");
  CHECK(api->count(operation::kill) == 0);
  CHECK(count("sandbox.kill_intended") == 0);
}

TEST_CASE_METHOD(sandbox_world, "a poller that dies is started again and the sandbox goes on") {
  begin();
  caf::anon_send_exit(ctx->health(), caf::exit_reason::kill);
  advance(3s);
  auto asked = api->count(operation::health);
  advance(31s);
  CHECK(api->count(operation::health) > asked);
  exit("pn_0");
  CHECK(ending() == "completed");
}
