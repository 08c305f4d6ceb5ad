// Work that could not be fetched: its sandbox is left up with it, and what ends that all the same.
#include "tests/actors/transfer_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// Nothing can be downloaded.
struct unfetched_world : left_world {
  errc code = errc::refused;
  unfetched_world() {
    panes(2);
    api->turn_down = [this](operation op, const std::string&) {
      return op == operation::download_file ? make_error(code) : error{};
    };
  }
  ~unfetched_world() { api->turn_down = nullptr; }
  void agents_end(std::int32_t with) {
    exit("pn_0", with);
    exit("pn_1", with);
  }
};

} // namespace

TEST_CASE_METHOD(unfetched_world, "work that could not be fetched stays in its sandbox until its "
                                  "lease is over, and it is said how to get at it") {
  spec->keep = GENERATE(false, true);
  auto by_user = GENERATE(false, true);
  begin();
  auto lease = all<lease_intended>();
  if (by_user) stop(stop_mode::graceful);
  agents_end(by_user ? 130 : 0);
  CHECK(ending() == (by_user ? "cancelled refused@download" : "failed refused@download"));
  CHECK(kept());
  CHECK(api->boxes.size() == 1);
  CHECK(api->count(operation::kill) == 0);
  CHECK(count("sandbox.kill_intended") == 0);
  auto leases = all<lease_intended>();
  CHECK(leases.size() == lease.size()); // not prolonged
  CHECK(count("results_left_inside") == 1);
  auto text = told_of_left();
  CHECK(text.starts_with("sb_a: what p0, p1 did could not be fetched and is still in sb_a"));
  CHECK(text.find(" UTC: `skep diff sw_a/p0 --patch` fetches it, `skep kill sw_a` ends it")
        != std::string::npos);
  // The error has it, too, and so have status and summary.
  CHECK(all<sandbox_closed>().at(0).why.message.find("`skep diff sw_a/p0 --patch`")
        != std::string::npos);
}

TEST_CASE_METHOD(unfetched_world, "work that could not be fetched outlives no limit, no budget, no "
                                  "end of the daemon, and no sandbox that is gone") {
  spec->keep = GENERATE(false, true);
  std::vector<stop_mode> stops;
  SECTION("a time limit") {
    stops = {stop_mode::timed_out};
  }
  SECTION("a time limit after a stop") {
    stops = {stop_mode::graceful, stop_mode::timed_out};
  }
  SECTION("a budget") {
    stops = {stop_mode::budget};
  }
  SECTION("the end of the daemon") {
    stops = {stop_mode::shutdown};
  }
  SECTION("the end of a former daemon") {
    stops = {stop_mode::former_shutdown};
  }
  SECTION("gone") {
    code = errc::gone;
  }
  begin();
  for (auto how : stops)
    stop(how);
  agents_end(130);
  advance(1s);
  REQUIRE(count("transfer.failed") == 2);
  REQUIRE(count("sandbox.closed") == 1);
  CHECK_FALSE(kept());
  CHECK(api->boxes.empty());
  CHECK(count("results_left_inside") == 0);
}

TEST_CASE_METHOD(left_world, "a sandbox that failed and whose results take too long to fetch "
                             "is left with what was not fetched") {
  panes(3);
  api->hold(operation::download_file);
  begin();
  exit("pn_0", 1);
  exit("pn_1", 1);
  advance(1s);
  exit("pn_2", 130);
  REQUIRE(phases().back() == "collecting");
  advance(svc->limits.end_within());
  CHECK(ending() == "failed agent_failed@running");
  CHECK(count("results_incomplete") == 1);
  CHECK(kept());
  CHECK(told_of_left().starts_with("sb_a: what p0, p1, p2 did"));
  CHECK(api->boxes.size() == 1);
}

TEST_CASE_METHOD(left_world, "results that a daemon could not fetch and the next one did leave "
                             "a sandbox only where it was to be kept") {
  recorded(phase::collecting);
  start.panes[0].state = pane_phase::closed;
  start.panes[0].result = outcome::completed;
  start.record.error_code = "network";
  start.record.error_step = "download";
  spec->keep = GENERATE(false, true);
  begin();
  advance(15s);
  REQUIRE(count("sandbox.closed") == 1);
  CHECK(all<sandbox_closed>().at(0).result == outcome::failed);
  CHECK(all<sandbox_closed>().at(0).why.code == errc::network);
  CHECK(std::filesystem::exists(tmp.path / "out" / "sw_a" / "p0.patch"));
  CHECK(kept() == spec->keep);
  CHECK(api->boxes.size() == (spec->keep ? 1 : 0));
  CHECK(count("results_left_inside") == 0);
}
