// Scripts of what a sandbox watches: idle panes, panes that are out, output that ends too early;
// and what is kept of a sandbox that fails.
#include "actors/idle_watch.hpp"
#include "actors/lease_plan.hpp"
#include "actors/output_log.hpp"
#include "actors/query_desk.hpp"
#include "actors/soft_limits.hpp"
#include "messages/warnings.hpp"

#include "tests/actors/sandbox_world.hpp"

#include <sys/stat.h>

using namespace skep;
using namespace skep::test;

// ---- idle -------------------------------------------------------------------------------------

TEST_CASE_METHOD(sandbox_world,
                 "a silent pane is warned of once, then stopped with its own reason") {
  panes(2);
  spec->idle_limit_ms = 600'000;
  begin();
  std::uint64_t at = 0;
  auto works = [&] { // the other one
    output("pn_1", at, "x");
    ++at;
  };
  for (int i = 0; i < 9; ++i) {
    advance(1min);
    works();
  }
  CHECK(count("pane.idle") == 0);
  advance(66s); // the limit, and a tick
  works();
  REQUIRE(all<pane_idle>().size() == 1);
  CHECK(all<pane_idle>()[0].pane == pane_id{"pn_0"});
  CHECK(all<pane_idle>()[0].idle_ms >= 600'000);
  CHECK(all<pane_idle>()[0].limit_ms == 600'000);
  CHECK(guest_calls("signal") == 0);
  advance(66s); // the grace, and a tick
  CHECK(count("pane.idle") == 1);
  CHECK(guest_calls("signal") == 1);
  exit("pn_0", 130);
  advance(1s);
  auto closed = all<pane_closed>();
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].result == outcome::timed_out);
  CHECK(closed[0].why.code == errc::idle);
  CHECK(closed[0].why.message.find("p0") != std::string::npos);
  exit("pn_1", 0, at);
  CHECK(ending() == "timed_out idle@agent");
}

TEST_CASE_METHOD(sandbox_world, "a sign of life resets what was warned of") {
  spec->idle_limit_ms = 60'000;
  begin();
  advance(70s);
  REQUIRE(count("pane.idle") == 1);
  output("pn_0", 0, "still thinking\n");
  advance(5s);
  CHECK(count("pane.active") == 1);
  advance(50s);
  CHECK(count("pane.idle") == 1);
  CHECK(guest_calls("signal") == 0);
  advance(20s); // silent again
  CHECK(count("pane.idle") == 2);
  exit("pn_0", 0, 15);
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "without an idle limit nobody is ever idle") {
  begin();
  advance(50min);
  CHECK(count("pane.idle") == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE("agents that slept with their machine get the grace whole") {
  using w = idle_watch::word;
  idle_watch x{600s, 60s};
  pane_id p{"pn_a"};
  CHECK(x.look(p, std::nullopt, 0s) == w::none);
  CHECK(x.look(p, std::nullopt, 8h) == w::warn);
  CHECK(x.look(p, std::nullopt, 8h + 59s) == w::none);
  CHECK(x.look(p, 8h + 58s, 8h + 60s) == w::active);
  CHECK(x.look(p, 8h + 58s, 8h + 657s) == w::none);
  CHECK(x.look(p, 8h + 58s, 8h + 658s) == w::warn);
  CHECK(x.look(p, 8h + 58s, 8h + 718s) == w::stop);
  CHECK(x.look(p, 8h + 58s, 8h + 1000s) == w::none); // said once
  CHECK(idle_watch{0s, 60s}.look(p, std::nullopt, 8h) == w::none);
}

TEST_CASE("a pane that was warned of before a restart is not warned of again") {
  using w = idle_watch::word;
  idle_watch x{600s, 60s};
  pane_id p{"pn_a"};
  x.was_warned(p);
  CHECK(x.look(p, std::nullopt, 0s) == w::none);
  CHECK(x.look(p, std::nullopt, 600s) == w::none);
  CHECK(x.look(p, std::nullopt, 660s) == w::stop);
  idle_watch y{600s, 60s};
  y.was_warned(p);
  CHECK(y.look(p, std::nullopt, 0s) == w::none);
  CHECK(y.look(p, 5s, 10s) == w::active);
}

// ---- panes that are out -----------------------------------------------------------------------

TEST_CASE_METHOD(sandbox_world, "half of the panes out degrade a sandbox, more than half fail it") {
  panes(4);
  begin();
  exit("pn_0", 1);
  exit("pn_1", 1);
  advance(1s);
  CHECK(all<sandbox_degraded>().back().panes == std::vector<pane_id>{{"pn_0"}, {"pn_1"}});
  CHECK(phases().back() == "running");
  exit("pn_2", 1);
  advance(1s);
  CHECK(phases().back() == "draining"); // the fourth is interrupted
  CHECK(guest_calls("signal") == 1);
  exit("pn_3", 130);
  CHECK(ending() == "failed agent_failed@running");
  CHECK(
      all<sandbox_closed>()[0].why.message.find("3 of 4 panes are out, more than 50 %: p0, p1, p2")
      != std::string::npos);
  CHECK(guest_calls("diff") == 4); // what all of them did is kept
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world,
                 "how many panes may be out is the run's choice, else the daemon's") {
  panes(4);
  SECTION("the daemon's") {
    svc->limits.panes_out_percent = 20;
  }
  SECTION("the run's") {
    svc->limits.panes_out_percent = 100;
    spec->panes_out_percent = 20;
  }
  begin();
  exit("pn_0", 1);
  advance(1s);
  CHECK(phases().back() == "draining");
  for (auto* p : {"pn_1", "pn_2", "pn_3"})
    exit(p, 130);
  CHECK(ending() == "failed agent_failed@running");
}

TEST_CASE_METHOD(sandbox_world,
                 "with 100 percent no number of panes that are out ends the others") {
  panes(3);
  spec->panes_out_percent = 100;
  begin();
  exit("pn_0", 1);
  exit("pn_1", 1);
  advance(1min);
  CHECK(phases().back() == "running");
  exit("pn_2", 0);
  CHECK(ending() == "failed agent_failed@agent");
}

TEST_CASE_METHOD(sandbox_world, "agents that do not start count as out") {
  panes(3);
  guest["pane"] = [n = 0](const sandbox::command&) mutable -> result<command_result> {
    if (++n <= 2) return said("{\"error\":\"x\",\"message\":\"no such program\"}\n", 2);
    return said("{\"pid\":42}\n");
  };
  begin();
  advance(1s);
  CHECK(count("pane.closed") == 2);
  exit("pn_2", 130);
  advance(20s);
  CHECK(ending().starts_with("failed agent_failed@"));
  CHECK(api->boxes.empty());
}

// ---- what is kept of a failure ----------------------------------------------------------------

TEST_CASE_METHOD(sandbox_world,
                 "output that cannot be fetched is told, and the work is collected") {
  panes(2);
  begin();
  exit("pn_1");
  for (int i = 0; i < 30 && all<output_incomplete>().empty(); ++i) {
    api->streams.back()->fail(make_error(errc::network));
    advance(6s);
  }
  auto told = all<output_incomplete>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].panes == std::vector<pane_id>{{"pn_0"}}); // the other's log is whole
  CHECK(told[0].why.message.starts_with("output incomplete"));
  CHECK(told[0].why.code == errc::network);
  CHECK(guest_calls("signal") == 2); // nobody hears of its end any more
  advance(21s);
  CHECK(ending() == "failed network@output");
  CHECK(guest_calls("diff") == 2);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "a sandbox that fails before its upload has nothing to collect") {
  guest["unpack"] = [](const sandbox::command&) -> result<command_result> {
    return said("{\"files\":3,\"size_bytes\":300,\"manifest_sha256\":\"bad\"}\n");
  };
  begin();
  CHECK(ending() == "failed verification@verify");
  CHECK(guest_calls("diff") == 0);
}

// ---- leases -----------------------------------------------------------------------------------

TEST_CASE_METHOD(sandbox_world,
                 "a lease that is longer than needed is not shortened by a restart") {
  recorded(phase::running);
  auto far = svc->wall_now() + 10h;
  api->boxes["i1"].info.end_at = far;
  begin();
  CHECK(api->count(operation::set_timeout) == 0);
  CHECK(all<lease_intended>().empty());
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "a renewal that fails leaves the lease in the tables as it was") {
  recorded(phase::running);
  start.record.lease_end_at = svc->wall_now() + 5min;
  api->fail(operation::set_timeout, make_error(errc::timed_out));
  begin();
  auto told = all<lease_intended>();
  REQUIRE(told.size() == 2);
  CHECK(told[0].end_at > told[1].end_at);
  CHECK(told[1].end_at == start.record.lease_end_at);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(
    sandbox_world,
    "a provider that gives less than was asked for is told, and its sandbox is stopped "
    "and collected before the lease is over") {
  api->now = [this] { return svc->wall_now(); };
  api->longest_life = 1h; // of the hour and five minutes of a run of an hour
  auto born = svc->wall_now();
  begin();
  advance(1s);
  CHECK(api->count(operation::get) == 1);
  REQUIRE(count("lease_capped") == 1);
  auto told = all<notice>();
  auto cap = std::find_if(told.begin(), told.end(),
                          [](const notice& n) { return n.code == "lease_capped"; });
  REQUIRE(cap != told.end());
  CHECK(cap->level == severity::warning);
  CHECK(cap->text.find("3600 s") != std::string::npos);
  CHECK(cap->text.find("providers." + spec->provider + ".lease_cap_s") != std::string::npos);
  auto leases = all<lease_intended>();
  REQUIRE(leases.size() == 2);
  CHECK(leases[0].end_at == born + 65min);
  CHECK(leases[1].end_at == born + 1h); // the table has it as it is
  v.advance(54min);
  settle();
  CHECK(phases().back() == "running");
  v.advance(1min + 5s); // five minutes before its end, and a tick
  settle();
  CHECK(phases().back() == "draining");
  CHECK(guest_calls("signal") == 1);
  exit("pn_0", 130);
  CHECK(ending() == "timed_out timed_out@");
  CHECK(all<sandbox_closed>().at(0).why.message.find("shorter life") != std::string::npos);
  CHECK(guest_calls("diff") == 1);
  CHECK(svc->wall_now() < born + 1h);
  CHECK(api->boxes.empty());
  CHECK(count("lease_capped") == 1);
}

TEST_CASE_METHOD(sandbox_world, "a lease is looked at once, and only where the cap is not set") {
  auto capped = GENERATE(false, true);
  if (capped) svc->limits.create_at[spec->provider].lease_cap = 2h;
  begin();
  advance(2min);
  CHECK(api->count(operation::get) == (capped ? 0 : 1));
  CHECK(count("lease_capped") == 0);
  CHECK(all<lease_intended>().size() == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "a look at the lease that fails costs the sandbox nothing") {
  api->longest_life = 1h;
  api->fail(operation::get, make_error(errc::network));
  begin();
  advance(1s);
  CHECK(api->count(operation::get) == 1);
  CHECK(count("lease_capped") == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(
    sandbox_world,
    "a sandbox whose provider leaves it no time beside the grace fails by name, before "
    "an agent starts") {
  api->longest_life = 250s;
  begin();
  CHECK(ending() == "failed out_of_range@lease");
  CHECK(guest_calls("pane") == 0);
  CHECK(api->boxes.empty());
}

namespace {

struct capped_world : sandbox_world {
  /// The record of a former daemon, which knew that the lease is over an hour after the birth.
  void capped_since(caf::timespan ago, phase at) {
    recorded(at);
    auto& info = api->boxes["i1"].info;
    auto born = svc->wall_now() - std::chrono::duration_cast<std::chrono::milliseconds>(ago);
    info.started_at = born;
    info.end_at = born + 1h;
    start.record.lease_end_at = born + 1h;
    start.panes[0].state = pane_phase::running;
    start.panes[0].attempt = 1;
  }
};

} // namespace

TEST_CASE_METHOD(capped_world, "a sandbox with a capped lease that is found again is stopped in "
                               "time, without another call or another word") {
  capped_since(54min, phase::running);
  begin();
  CHECK(api->count(operation::get) == 1);
  CHECK(api->count(operation::set_timeout) == 0);
  advance(55s);
  CHECK(phases().empty());
  advance(11s); // the grace before its end, and a tick
  CHECK(phases() == strings{"draining"});
  exit("pn_0", 130);
  CHECK(ending() == "timed_out timed_out@");
  CHECK(all<lease_intended>().empty());
  CHECK(count("lease_capped") == 0);
}

TEST_CASE_METHOD(capped_world, "a sandbox whose capped time was over while no daemon ran, or whose "
                               "daemon died while it was stopped, ends as timed out") {
  capped_since(56min, GENERATE(phase::running, phase::draining));
  begin();
  advance(1s);
  CHECK(api->count(operation::set_timeout) == 0);
  exit("pn_0", 130);
  CHECK(ending() == "timed_out timed_out@");
}

TEST_CASE("a lease that was capped shows in the provider's own account of it, whatever its clock") {
  utc_time born{7000s};
  auto life = [&](auto length) { return capped_life(born, born + length, 120s, 3900s); };
  CHECK(life(1h) == 1h);
  CHECK(life(3894s) == 3894s);
  CHECK(life(3896s) == std::nullopt); // it counts from another moment, or in whole seconds
  CHECK(life(2h) == std::nullopt);
  CHECK(life(124s) == std::nullopt); // the first lease: it does not show the new one yet
  CHECK(capped_life(born, {}, 120s, 3900s) == std::nullopt);
  CHECK(capped_life({}, {}, 120s, 3900s) == std::nullopt);
  CHECK(capped_life({}, born + 1000h, 120s, 3900s) == std::nullopt); // no beginning
}

TEST_CASE("a lease is limit and grace, below the cap, and never shorter than before") {
  utc_time born{1000s};
  auto lease = [&](auto cap, utc_time end, utc_time now) {
    return lease_to_ask(3600s, 300s, cap, born, end, now);
  };
  CHECK(lease(0s, {}, born) == 3900s);
  CHECK(lease(0s, {}, born + 1h) == 3900s);                // found again: a whole one
  CHECK(lease(3900s, {}, born) == 3900s);                  // fits exactly
  CHECK(lease(3900s, {}, born + 1000s) == 2900s);          // not beyond the cap
  CHECK(lease(0s, born + 2h, born + 10s) == std::nullopt); // it has a longer one
  CHECK(lease(3900s, born + 3900s, born + 1000s) == std::nullopt);
  CHECK(lease(3900s, {}, born + 2h) == std::nullopt); // nothing is left to ask for
  CHECK(lease_to_ask(1500ms, 300s, 0s, born, {}, born) == 302s);
  CHECK(limit_within(3'600'000ms, 300s, 0s) == 3'600'000ms);
  CHECK(limit_within(3'600'000ms, 300s, 3600s) == 3'300'000ms);
  CHECK(limit_within(60'000ms, 300s, 3600s) == 60'000ms);
  CHECK(limit_within(60'000ms, 300s, 300s) == std::nullopt);
}

// ---- logs -------------------------------------------------------------------------------------

namespace {

std::uint64_t on_disk(const std::filesystem::path& file) {
  struct stat st {};
  REQUIRE(::stat(file.c_str(), &st) == 0);
  return static_cast<std::uint64_t>(st.st_blocks) * 512;
}

constexpr std::uint64_t mib = 1024 * 1024;

} // namespace

TEST_CASE("a log keeps its newest bytes: the front is freed, offsets and the rest stay") {
  scratch tmp;
  std::filesystem::create_directories(tmp.path / "sw_a");
  auto file = tmp.path / "sw_a" / "pn_a.1.log";
  auto log = output_log::open(file, {});
  REQUIRE(log.ok());
  std::string block(mib, 'a');
  int freed = 0;
  for (std::uint64_t i = 0; i < 15; ++i) {
    block[0] = static_cast<char>('A' + i);
    REQUIRE(log->append(i * mib, block).ok());
    auto done = log->trim(10 * mib);
    REQUIRE(done.ok());
    freed += *done;
    CHECK(log->position() - log->begin() <= 11 * mib);
  }
  CHECK(freed == 2);
  REQUIRE(log->trim(10 * mib, true).ok());
  CHECK(log->begin() == 5 * mib);
  CHECK(log->position() == 15 * mib);
  CHECK(std::filesystem::file_size(file) == 15 * mib);
  CHECK(on_disk(file) <= 10 * mib + 64 * 1024);
  CHECK(log_begin(file) == 5 * mib);

  pane_record pane;
  pane.pane = {"pn_a"};
  pane.swarm = {"sw_a"};
  pane.attempt = 1;
  auto read = read_log(tmp.path, pane, {pane.pane, 0, 0, 4});
  REQUIRE(read.ok());
  CHECK(read->begin_offset == 5 * mib);
  CHECK(read->offset == 5 * mib); // what was asked for is not kept any more
  CHECK(read->data.data == "Faaa");
  CHECK(read_log(tmp.path, pane, {pane.pane, 0, 9 * mib, 2})->data.data == "Ja");

  // Another daemon opens it and goes on at its end.
  auto again = output_log::open(file, {});
  REQUIRE(again.ok());
  CHECK(again->begin() == 5 * mib);
  CHECK(again->expected() == 15 * mib);
  CHECK(again->append(15 * mib, "more").ok());

  // Among the results only what is kept, and a line that says so.
  REQUIRE(copy_log(file, tmp.path / "p0.log").ok());
  std::ifstream in{tmp.path / "p0.log"};
  std::string first;
  std::getline(in, first);
  CHECK(first
        == "[skep: the first 5242880 bytes of this log were dropped; its newest part follows]");
  CHECK(std::filesystem::file_size(tmp.path / "p0.log") == first.size() + 1 + 10 * mib + 4);
}

TEST_CASE_METHOD(sandbox_world, "a log beyond its cap is truncated with a marker, and streaming "
                                "goes on") {
  svc->limits.log_cap_bytes = mib;
  begin();
  std::string block(32 * 1024, 'x');
  for (std::uint64_t at = 0; at < 4 * mib; at += block.size())
    output("pn_0", at, block);
  advance(1s); // nobody waits for the marker
  auto told = all<log_truncated>();
  REQUIRE_FALSE(told.empty());
  CHECK(told.back().pane == pane_id{"pn_0"});
  CHECK(told.back().begin_offset >= mib);
  output("pn_0", 4 * mib, "the end");
  exit("pn_0", 0, 4 * mib + 7);
  CHECK(ending() == "completed");
  auto file = ctx->log_path({"pn_0"}, 1);
  CHECK(std::filesystem::file_size(file) == 4 * mib + 7);
  CHECK(log_begin(file) == 3 * mib);
}

// ---- words ------------------------------------------------------------------------------------

TEST_CASE("times in warnings are not rounded down to nothing") {
  CHECK(time_text(1500, 90'000, {0.004, true}) == "1.5 s of 1.5 min are over, $0.0040 so far");
  CHECK(time_text(1'800'000, 3'600'000, {12.5, false})
        == "30 min of 60 min are over, $12.50 so far without the price of its sandboxes");
  CHECK(idle_text("p0", 90'000, 1500, {0.0017, true}) // a minute of a sandbox
        == "p0 gave no sign of life for 1.5 min and is stopped in 1.5 s, $0.0017 so far");
}

TEST_CASE("a warning of a budget says whose it is, how much of it is spent, and the cost so far") {
  CHECK(budget_text(50, budget_owner(budget_scope::swarm, "sw_a"), 5, {2.5, true})
        == "50 % of the budget of the run ($5.00) is spent, $2.50 so far");
  CHECK(budget_text(80, budget_owner(budget_scope::pane, "p3"), 0.05, {0.0401, true})
        == "80 % of the budget of p3 ($0.0500) is spent, $0.0401 so far");
  CHECK(budget_text(50, budget_owner(budget_scope::month, "2026-11"), 300, {150.004, true})
        == "50 % of the budget of the month 2026-11 ($300.00) is spent, $150.00 so far");
}
