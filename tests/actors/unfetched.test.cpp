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

/// Rows as the tables have them; while it hangs, nothing inside answers and nothing comes out of
/// it, and the provider's control API does answer.
struct hung_world : left_world {
  bool hangs = false;

  hung_world() {
    svc->limits.download_tries = 1;
    svc->load_panes = [this](const sandbox_id&) -> result<std::vector<pane_record>> {
      return rows();
    };
    api->on_stream = [this, there = api->on_stream](fake_api::stream& s) {
      hangs ? s.fail(make_error(errc::network)) : there(s);
    };
    api->turn_down = [this](operation op, const std::string&) {
      const bool inside = op == operation::run || op == operation::download_file
                          || op == operation::health || op == operation::list_processes;
      return hangs && inside ? make_error(errc::network) : error{};
    };
  }
  ~hung_world() { api->turn_down = nullptr; }
  std::vector<pane_record> rows() const {
    auto out = start.panes;
    const auto begun = all<pane_start_intended>();
    const auto exits = all<pane_exited>();
    const auto closed = all<pane_closed>();
    for (auto& p : out) {
      for (const auto& e : begun)
        if (e.pane == p.pane) p.attempt = e.attempt;
      auto of = [&](const auto& e) { return e.pane == p.pane; };
      const bool seen = std::any_of(exits.begin(), exits.end(), of);
      if (seen) p.state = pane_phase::exited;
      if (std::none_of(closed.begin(), closed.end(), of)) continue;
      p.state = pane_phase::closed;
      p.exit_code = seen ? 130 : -1;
    }
    return out;
  }
  void it_hangs() {
    hangs = true;
    for (const auto& s : std::vector{api->streams})
      s->fail(make_error(errc::network));
    settle();
  }
  std::size_t kills_inside() const {
    const auto told = signals();
    return static_cast<std::size_t>(std::count(told.begin(), told.end(), "KILL"));
  }
  /// It was not left up, and what was inside went with it.
  void gone_with_its_work() const {
    CHECK_FALSE(kept());
    CHECK(api->boxes.empty());
    CHECK(count("sandbox.kill_intended") == 1);
    CHECK(count("sandbox.kill_confirmed") == 1);
    CHECK(count("results_left_inside") == 0);
    CHECK(count("results_incomplete") == 1);
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
  CHECK(text.find(" UTC: `skep diff sw_a/p0 --patch` fetches it, `skep panic sb_a` ends it alone")
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

TEST_CASE_METHOD(hung_world,
                 "a stopped sandbox that does not answer is left with its work only when "
                 "the kill of its agents was answered, and ends with its run before") {
  panes(2);
  begin();
  it_hangs();
  stop(stop_mode::graceful);
  advance(1min);
  REQUIRE(phases().back() == "collecting");
  REQUIRE(count("pane.closed") == 2); // given up after their kill, unanswered
  REQUIRE(count("transfer.failed") == 2);
  CHECK(count("sandbox.closed") == 0);
  CHECK(count("agents_may_work") == 1);
  const auto before = kills_inside();
  CHECK(before > 4); // once by each pane, and again and again
  advance(3min);
  CHECK(kills_inside() >= before + 4); // more and more rarely, and not less often than each minute
  CHECK(kills_inside() <= before + 12);
  CHECK(count("sandbox.closed") == 0);
  CHECK(count("sandbox.kill_intended") == 0);
  CHECK(count("agents_may_work") == 1); // told once
  SECTION("one of them answers, then the other") {
    auto turn_down = api->turn_down;
    api->turn_down = [turn_down](operation op, const std::string& what) {
      return what.find("pn_0") != std::string::npos ? error{} : turn_down(op, what);
    };
    advance(61s);
    CHECK(count("sandbox.closed") == 0);
    hangs = false;
    const auto asked = kills_inside();
    advance(61s);
    CHECK(kills_inside() == asked + 1); // the other one alone
    CHECK(ending() == "cancelled network@diff");
    CHECK(kept());
    CHECK(api->boxes.size() == 1);
    CHECK(api->count(operation::kill) == 0);
    CHECK(told_of_left().starts_with("sb_a: what p0, p1 did could not be fetched"));
    CHECK(count("results_incomplete") == 0);
    advance(5min);
    CHECK(kills_inside() == asked + 1);
  }
  SECTION("its user asks for the same once more") {
    stop(stop_mode::graceful);
    CHECK(count("sandbox.closed") == 0);
    CHECK(count("sandbox.kill_intended") == 0);
    hangs = false;
    advance(61s);
    CHECK(kept());
  }
  SECTION("the time limit comes first") {
    stop(stop_mode::timed_out);
    CHECK(ending() == "cancelled network@diff");
    gone_with_its_work();
    CHECK(api->count(operation::kill) == 1);
  }
  SECTION("its budget ends first") {
    stop(stop_mode::budget_kill);
    CHECK(ending() == "budget network@diff");
    gone_with_its_work();
  }
  SECTION("it is killed") {
    stop(stop_mode::kill);
    CHECK(ending() == "killed network@diff");
    gone_with_its_work();
  }
  SECTION("the daemon ends everything") {
    stop(stop_mode::shutdown);
    CHECK(ending() == "cancelled network@diff");
    gone_with_its_work();
  }
  SECTION("it is gone") {
    hangs = false;
    api->boxes.clear();
    advance(61s);
    CHECK(ending() == "cancelled network@diff");
    gone_with_its_work();
  }
}

TEST_CASE_METHOD(hung_world,
                 "a sandbox that failed since nothing came out of it goes on to be under "
                 "its run's time limit until its agents are known to be over") {
  begin();
  output("pn_0", 0, "hello");
  it_hangs();
  advance(5min);
  REQUIRE(count("sandbox.failing") == 1);
  REQUIRE(phases().back() == "collecting");
  CHECK(count("agents_may_work") == 1);
  CHECK(count("sandbox.closed") == 0);
  SECTION("they are over") {
    hangs = false;
    advance(61s);
    CHECK(ending() == "failed network@output");
    CHECK(kept());
    CHECK(count("results_left_inside") == 1);
  }
  SECTION("the limit comes first") {
    stop(stop_mode::timed_out);
    CHECK(ending() == "failed network@output");
    gone_with_its_work();
  }
}

TEST_CASE_METHOD(hung_world,
                 "a sandbox whose agents may work on is not left past its lease, and not "
                 "past what its panes may cost") {
  bool lease = GENERATE(true, false);
  recorded(phase::running);
  start.panes[0].state = pane_phase::running;
  start.panes[0].attempt = 1;
  if (lease) {
    spec->limit_ms = 60'000;
  } else {
    spec->pane_budget_usd = 1;
    start.record.usd_per_hour = 12; // five minutes of it
    start.record.charged_from = svc->wall_now();
    svc->rules = std::make_shared<const limit_table>();
  }
  begin();
  it_hangs();
  stop(stop_mode::graceful);
  advance(3min);
  CHECK(count("sandbox.closed") == 0);
  CHECK(count("sandbox.kill_intended") == 0);
  advance(lease ? 245s : 185s); // the next look after that
  CHECK(ending() == "cancelled network@diff");
  gone_with_its_work();
}

TEST_CASE_METHOD(hung_world,
                 "a sandbox that is kept, whatever for, is left when its agents are over") {
  spec->keep = true;
  begin();
  guest["signal"] = [](const sandbox::command&) -> result<command_result> {
    return said("{\"error\":\"io\",\"message\":\"the agent does not end\"}", 1);
  };
  stop(stop_mode::graceful);
  advance(1min);
  REQUIRE(count("transfer.done") == 2); // the upload, and its results
  CHECK(count("sandbox.closed") == 0);
  guest["signal"] = [](const sandbox::command&) -> result<command_result> {
    return said("{\"state\":\"exited\"}\n");
  };
  advance(61s);
  CHECK(ending() == "cancelled");
  CHECK(kept());
  CHECK(count("results_left_inside") == 0);
}

TEST_CASE_METHOD(hung_world,
                 "nothing is collected before the kill of an agent that did not listen is "
                 "answered, but after half a minute, and then that is told") {
  int kills = 0, lost = 3;
  std::size_t diffs_at_answer = 99;
  guest["signal"] = [&](const sandbox::command& c) -> result<command_result> {
    if (c.argv.back() != "KILL") return said("{}\n");
    if (++kills <= lost) return make_error(errc::network);
    diffs_at_answer = guest_calls("diff");
    return said("{}\n");
  };
  begin();
  SECTION("it is answered the fourth time") {
    stop(stop_mode::graceful);
    advance(svc->limits.stop_grace * 2 + 5s); // at 10, 20 and 22 s
    CHECK(kills == 3);
    CHECK(phases().back() == "collecting");
    CHECK(guest_calls("diff") == 0);
    advance(2s);
    CHECK(kills == 4);
    CHECK(diffs_at_answer == 0);
    CHECK(count("collected_at_work") == 0);
  }
  SECTION("it is never answered") {
    lost = 1000;
    stop(stop_mode::graceful);
    advance(svc->limits.stop_grace * 2 + svc->limits.guest_command - 1s);
    CHECK(guest_calls("diff") == 0);
    advance(2s);
    CHECK(count("collected_at_work") == 1);
    const auto told = all<notice>();
    for (const auto& n : told)
      if (n.code == "collected_at_work")
        CHECK(n.text.starts_with("sb_a: the results of p0 may be"));
  }
  SECTION("its end is seen: nobody is killed") {
    stop(stop_mode::graceful);
    exit("pn_0", 130);
    CHECK(kills == 0);
  }
  CHECK(guest_calls("diff") == 1);
  advance(1min); // the rest of its log is looked for
  CHECK(ending() == "cancelled");
  CHECK(api->boxes.empty());
  CHECK(has_patch("p0"));
  guest.erase("signal");
}

TEST_CASE_METHOD(hung_world,
                 "before a sandbox is left its models may cost what they have cost, and "
                 "no more, also while its agents may be at work") {
  recorded(phase::running);
  start.panes[0].state = pane_phase::running;
  start.panes[0].attempt = 1;
  spec->agent = agent_kind::claude;
  spec->argv.clear();
  spec->prompts = {"work"};
  svc->rules = std::make_shared<const limit_table>();
  api->counts_models = true;
  api->boxes["i1"].spent = {3, 400'000, 0, 1000, 100, false};
  begin();
  REQUIRE_FALSE(api->boxes["i1"].allowance.has_value());
  stop(stop_mode::graceful);
  SECTION("its agent is over") {
    api->turn_down = [](operation op, const std::string&) {
      return op == operation::download_file ? make_error(errc::refused) : error{};
    };
    exit("pn_0", 130);
    CHECK(ending() == "cancelled refused@download");
    CHECK(kills_inside() == 0);
  }
  SECTION("its agent may be at work") {
    it_hangs();
    advance(1min);
    CHECK(count("sandbox.closed") == 0);
    CHECK(api->boxes["i1"].allowance == 400'000u);
    api->boxes["i1"].spent = {4, 450'000, 0, 1200, 150, false}; // a call that was under way
    hangs = false;
    advance(61s);
    CHECK(ending() == "cancelled network@diff");
  }
  CHECK(kept());
  auto told = all<model_spend>();
  REQUIRE_FALSE(told.empty());
  CHECK(told.back().calls == api->boxes["i1"].spent.calls);
  CHECK(api->boxes["i1"].allowance == api->boxes["i1"].spent.micro_usd);
}
