// Scripts of a network that goes away on this side and comes back: sandboxes outlive it.
#include "tests/actors/health_of.hpp"
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// A sandbox while the network of this machine goes and comes back.
struct outage_world : sandbox_world {
  bool streams_fail = false, calls_fail = false;

  outage_world() {
    api->on_stream = [this, there = api->on_stream](fake_api::stream& s) {
      streams_fail ? s.fail(make_error(errc::network)) : there(s);
    };
    api->turn_down = [this](operation, const std::string&) {
      return calls_fail ? make_error(errc::network) : error{};
    };
  }
  ~outage_world() { api->turn_down = nullptr; }
  void network_goes() {
    streams_fail = calls_fail = true;
    for (const auto& s : std::vector{api->streams})
      s->fail(make_error(errc::network));
    settle();
  }
};

} // namespace

TEST_CASE_METHOD(outage_world,
                 "twenty minutes without a network end no sandbox: its agents work on, and its "
                 "output and their work are fetched when it is back") {
  begin();
  output("pn_0", 0, "hello ");
  network_goes();
  advance(20min);
  CHECK(phases().back() == "running");
  CHECK(count("sandbox.failing") == 0);
  CHECK(count("output_incomplete") == 0);
  CHECK(guest_calls("signal") == 0);
  // It is told once, however long that lasts.
  CHECK(count("sandbox.poll_failed") == 5);
  REQUIRE(count("provider_unreachable") == 1);
  CHECK(count("provider_reached") == 0);
  auto signs = signs_in(*log, ctx->sandbox);
  CHECK_FALSE(signs.output_lost);
  CHECK(signs.poll_failures == 5);
  CHECK(health_by(signs, svc->limits, svc->wall_now()) != health_state::healthy);
  SECTION("it comes back") {
    streams_fail = calls_fail = false;
    advance(31s);
    CHECK(count("provider_reached") == 1);
    REQUIRE(api->streams.back()->open);
    CHECK(api->streams.back()->what.argv.back() == "pn_0:1:6");
    output("pn_0", 6, "world");
    exit("pn_0", 0, 11);
    CHECK(ending() == "completed");
    CHECK(guest_calls("diff") == 1);
    CHECK(all<output_incomplete>().empty());
    std::ifstream file{ctx->log_path({"pn_0"}, 1)};
    CHECK(std::string{std::istreambuf_iterator<char>{file}, {}} == "hello world");
  }
  SECTION("the sandbox did not outlive it") {
    api->boxes.clear();
    streams_fail = calls_fail = false;
    advance(31s);
    CHECK(ending() == "lost not_found@running");
    CHECK(count("output_incomplete") == 0);
    CHECK(count("sandbox.kill_intended") == 0);
  }
  SECTION("the provider comes back and the output does not") {
    calls_fail = false;
    advance(svc->limits.poll_give_up);
    CHECK(count("provider_reached") == 1);
    CHECK(count("output_incomplete") == 0); // as much time as after any success
    advance(svc->limits.poll_give_up * 2);
    CHECK(count("output_incomplete") == 1);
    CHECK(count("sandbox.poll_failed") == 5);
    CHECK(ending() == "failed network@output");
    CHECK(guest_calls("diff") == 1);
  }
}

TEST_CASE_METHOD(outage_world,
                 "output that is back before its provider goes on, and the agents' end is heard") {
  begin();
  network_goes();
  advance(5min);
  REQUIRE(count("provider_unreachable") == 1);
  streams_fail = calls_fail = false;
  api->turn_down = [](operation op, const std::string&) {
    return op == operation::get ? make_error(errc::network) : error{};
  };
  advance(6s);
  REQUIRE(api->streams.back()->open);
  output("pn_0", 0, "heard");
  exit("pn_0", 0, 5);
  CHECK(ending() == "completed");
  CHECK(count("provider_reached") == 0);
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(outage_world, "a network is waited for no longer than the lease of the sandbox") {
  spec->limit_ms = 60'000;
  begin();
  auto leases = all<lease_intended>();
  REQUIRE_FALSE(leases.empty());
  const caf::timespan life = leases.back().end_at - svc->wall_now();
  REQUIRE(life == 360s);
  network_goes();
  advance(life - 1s);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(count("output_incomplete") == 0);
  advance(60s); // the next look, and kills that nobody answers
  CHECK(count("output_incomplete") == 1);
  CHECK(ending() == "failed network@output");
  CHECK(count("sandbox.kill_intended") == 1);
  CHECK(count("sandbox.kill_confirmed") == 0); // the REAPER's from now on
}
