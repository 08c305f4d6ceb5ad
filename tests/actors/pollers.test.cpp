// Scripts of a running sandbox and of what follows it: output that breaks, health, loss.
#include "actors/answer.hpp"
#include "sandbox/http_engine.hpp"
#include "tests/actors/health_of.hpp"
#include "tests/actors/sandbox_world.hpp"

#include <deque>
#include <set>

using namespace skep;
using namespace skep::test;

namespace {

/// A PANE that takes its time: what it was given is taken when it hears begin_a.
struct slow_pane_state {
  static inline const char* name = "slow_pane";
};
using taking = std::deque<caf::typed_response_promise<void>>;
pane_actor::behavior_type slow_pane(pane_actor::stateful_pointer<slow_pane_state> self,
                                    taking* open) {
  return {
      [open](begin_a) {
        for (auto& given : std::exchange(*open, {}))
          answer(given, result<void>{});
      },
      [self, open](output_a, std::uint32_t, std::uint64_t,
                   const std::string&) -> caf::result<void> {
        open->push_back(self->make_response_promise<void>());
        return open->back();
      },
      [](exited_a, const follow_exit&) {},
      [](input_a, const std::string&, const std::string&) { return std::uint64_t{0}; },
      [](stop_a, stop_mode) {},
      [](freeze_a, bool) {},
      [](done_a, const continuation& c) { c.run(); },
  };
}

} // namespace

TEST_CASE_METHOD(sandbox_world,
                 "what an agent's adapter has not taken is not read from the network") {
  spec->agent = agent_kind::claude;
  spec->prompts = {"work"};
  taking open;
  begin();
  auto pane = ctx->pane({"pn_0"});
  auto slow = v.root(v.sys.spawn(slow_pane, &open));
  ctx->pane({"pn_0"}, slow);
  const std::string piece(32 * 1024, 'x');
  auto& stream = *api->streams.back();
  std::uint64_t offset = 0;
  for (; !stream.paused && offset < (10U << 20); offset += piece.size())
    output("pn_0", offset, piece);
  CHECK(stream.paused);
  CHECK(offset <= svc->limits.poll_buffer_bytes + (128U << 10));
  caf::anon_send(slow, begin_a::value);
  settle();
  CHECK_FALSE(stream.paused);
  output("pn_0", offset, piece);
  CHECK(open.size() >= 1);
  caf::anon_send(slow, begin_a::value);
  ctx->pane({"pn_0"}, pane);
  slow = pane = pane_actor{};
  stop(stop_mode::kill);
  CHECK(ending() == "killed");
}

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
  auto breaks = [this](int times) {
    for (int i = 0; i < times; ++i) {
      api->streams.back()->fail(make_error(errc::network));
      advance(6s); // longer than any wait
    }
  };
  breaks(4);
  output("pn_0", 0, "it works again");
  breaks(4);
  CHECK(count("output_incomplete") == 0);
  CHECK(count("sandbox.closed") == 0);
  // The network may come back: for two minutes no further failure is the fifth.
  REQUIRE(svc->limits.poll_give_up == 120s);
  breaks(16);
  CHECK(count("sandbox.poll_failed") == 8);
  CHECK(count("output_incomplete") == 0);
  REQUIRE(api->streams.size() == 25);
  breaks(1);
  std::vector<std::uint32_t> counts;
  for (const auto& e : all<poll_failed>()) {
    CHECK(e.limit == 5);
    CHECK(e.why.code == errc::network);
    counts.push_back(e.count);
  }
  CHECK(counts == std::vector<std::uint32_t>{1, 2, 3, 4, 1, 2, 3, 4, 5});
  CHECK(api->streams.size() == 25); // polling has stopped
  advance(21s);                     // nobody hears of the agent's end: its graces pass
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

TEST_CASE_METHOD(sandbox_world,
                 "a network that is away for less than two minutes ends no sandbox") {
  begin();
  output("pn_0", 0, "before");
  for (int i = 0; i < 19; ++i) {
    api->streams.back()->fail(make_error(errc::network));
    advance(6s);
  }
  output("pn_0", 6, " and after");
  for (int i = 0; i < 19; ++i) { // its time begins anew with each success
    api->streams.back()->fail(make_error(errc::timed_out));
    advance(6s);
  }
  CHECK(count("output_incomplete") == 0);
  std::ifstream file{ctx->log_path({"pn_0"}, 1)};
  CHECK(std::string{std::istreambuf_iterator<char>{file}, {}} == "before and after");
  exit("pn_0", 0, 16);
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world,
                 "a failure of output that will not pass counts as the fifth at once") {
  begin();
  for (int i = 0; i < 5; ++i) {
    CHECK(count("output_incomplete") == 0);
    api->streams.back()->end(1);
    advance(6s);
  }
  CHECK(count("sandbox.poll_failed") == 5);
  CHECK(count("output_incomplete") == 1);
  advance(21s);
  CHECK(ending() == "failed remote_command_failed@output");
}

TEST_CASE_METHOD(sandbox_world,
                 "a follower that hangs while its stream lives is replaced at the logs' ends") {
  pulses = false;
  begin();
  output("pn_0", 0, "said\n");
  REQUIRE(svc->limits.follow_silence == 120s);
  advance(119s);
  CHECK(api->streams.size() == 1);
  CHECK(count("sandbox.poll_failed") == 0);
  advance(32s); // a quarter later at most
  REQUIRE(api->streams.size() == 2);
  CHECK_FALSE(api->streams[0]->open);
  CHECK(api->streams[1]->open);
  CHECK(api->streams[1]->what.argv.back() == "pn_0:1:5");
  auto told = all<poll_failed>();
  REQUIRE(told.size() == 1);
  CHECK(told[0].count == 1);
  CHECK(told[0].why.code == errc::timed_out); // of a kind that may pass
  output("pn_0", 5, "more\n");
  pulses = true; // one that says nothing and lives
  advance(10min);
  CHECK(api->streams.size() == 2);
  CHECK(count("sandbox.poll_failed") == 1);
  std::ifstream file{ctx->log_path({"pn_0"}, 1)};
  CHECK(std::string{std::istreambuf_iterator<char>{file}, {}} == "said\nmore\n");
  exit("pn_0", 0, 10);
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "the silence of a stream that is not read counts against nobody") {
  pulses = false;
  svc->limits.follow_silence = 8s;
  spec->agent = agent_kind::claude;
  spec->prompts = {"work"};
  taking open;
  begin();
  auto pane = ctx->pane({"pn_0"});
  auto slow = v.root(v.sys.spawn(slow_pane, &open));
  ctx->pane({"pn_0"}, slow);
  const std::string piece(32 * 1024, 'x');
  auto& stream = *api->streams.back();
  for (std::uint64_t at = 0; !stream.paused && at < (10U << 20); at += piece.size())
    output("pn_0", at, piece);
  REQUIRE(stream.paused);
  advance(25s); // three times as long
  CHECK(stream.paused);
  CHECK(api->streams.size() == 1);
  CHECK(count("sandbox.poll_failed") == 0);
  caf::anon_send(slow, begin_a::value);
  settle();
  REQUIRE_FALSE(stream.paused);
  advance(7s);
  CHECK(count("sandbox.poll_failed") == 0);
  advance(5s); // it is read, and nothing comes
  CHECK(count("sandbox.poll_failed") == 1);
  ctx->pane({"pn_0"}, pane);
  slow = pane = pane_actor{};
  stop(stop_mode::kill);
  CHECK(ending() == "killed");
}

TEST_CASE_METHOD(
    sandbox_world,
    "a follower that ends without one whole frame has failed, whatever its exit code") {
  pulses = false;
  begin();
  output("pn_0", 0, "said\n");
  api->on_stream = nullptr; // from here on none says hello
  auto& streams = api->streams;
  streams.back()->end(0); // its time was over
  settle();
  REQUIRE(streams.size() == 2);
  CHECK(count("sandbox.poll_failed") == 0);
  auto pulse = frame(follow_kind::pulse, follow_pulse{1});
  streams.back()->emit(pulse.substr(0, pulse.size() - 1));
  streams.back()->end(0);
  settle();
  CHECK(streams.size() == 2); // not at once
  advance(1s);
  REQUIRE(streams.size() == 3);
  streams.back()->end(0);
  advance(1s);
  REQUIRE(streams.size() == 4);
  auto told = all<poll_failed>();
  REQUIRE(told.size() == 2);
  CHECK(told[0].count == 1);
  CHECK(told[1].count == 2);
  CHECK(told[1].why.code == errc::network); // of a kind that may pass
  CHECK(streams.back()->what.argv.back() == "pn_0:1:5");
  output("pn_0", 5, "more\n");
  exit("pn_0", 0, 10);
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(
    sandbox_world,
    "frames of a pane that break their stream count until a good one of its own comes, "
    "whatever comes for another") {
  panes(2);
  begin();
  auto breaks = [this](int times) {
    for (int i = 0; i < times; ++i) {
      output("pn_1", 0, "it fits");
      output("pn_0", 1000, "it does not");
      advance(6s); // longer than any wait
    }
  };
  breaks(4);
  output("pn_0", 0, "it fits");
  breaks(4);
  CHECK(count("output_incomplete") == 0);
  breaks(1);
  std::vector<std::uint32_t> counts;
  for (const auto& e : all<poll_failed>()) {
    CHECK(e.why.code == errc::bad_frame);
    counts.push_back(e.count);
  }
  CHECK(counts == std::vector<std::uint32_t>{1, 2, 3, 4, 1, 2, 3, 4, 5});
  CHECK(count("output_incomplete") == 1);
  advance(21s);
  CHECK(ending() == "failed bad_frame@output");
}

TEST_CASE_METHOD(sandbox_world,
                 "where streams fail output is polled: often while some comes, seldom "
                 "while none does, and one call at a time") {
  auto& streams = api->streams;
  auto life = [&] {
    const auto& argv = streams.back()->what.argv;
    return *(std::find(argv.begin(), argv.end(), "--deadline-s") + 1);
  };
  begin();
  CHECK(life() == "1800");
  streams.back()->fail(make_error(errc::network));
  advance(6s);
  CHECK(life() == "1800");
  CHECK(count("output_polled") == 0);
  streams.back()->fail(make_error(errc::timed_out));
  advance(6s);
  REQUIRE(streams.size() == 3);
  CHECK(life() == "1");
  CHECK(count("output_polled") == 1);
  std::uint64_t at = 0;
  auto ends = [&](const std::string& said, caf::timespan next) {
    if (!said.empty()) output("pn_0", std::exchange(at, at + said.size()), said);
    auto n = streams.size();
    streams.back()->end(0);
    settle();
    advance(next - 10ms);
    CHECK(streams.size() == n); // not yet
    advance(20ms);
    CHECK(streams.size() == n + 1);
  };
  ends("", 1s);
  ends("", 2s);
  ends("", 4s);
  ends("", 5s);
  ends("", 5s);
  ends("something", 500ms);
  ends(" more", 500ms);
  ends("", 1s);
  CHECK(life() == "1");
  CHECK(count("output_polled") == 1);
  advance(300s);
  streams.back()->end(0);
  settle();
  CHECK(life() == "1800"); // a stream is tried again
  std::ifstream file{ctx->log_path({"pn_0"}, 1)};
  CHECK(std::string{std::istreambuf_iterator<char>{file}, {}} == "something more");
  exit("pn_0", 0, at);
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(
    sandbox_world,
    "a sandbox beyond those that there are streams for is polled, until there is one") {
  svc->followers = std::make_shared<actors::follower_places>(1);
  REQUIRE(svc->followers->take()); // by another sandbox
  auto& streams = api->streams;
  auto life = [&] {
    const auto& argv = streams.back()->what.argv;
    return *(std::find(argv.begin(), argv.end(), "--deadline-s") + 1);
  };
  auto ends = [&] {
    streams.back()->end(0);
    advance(5s);
  };
  begin();
  CHECK(life() == "1");
  output("pn_0", 0, "all of it");
  std::ifstream file{ctx->log_path({"pn_0"}, 1)};
  CHECK(std::string{std::istreambuf_iterator<char>{file}, {}} == "all of it");
  CHECK(count("sandbox.poll_failed") == 0); // nothing has failed
  auto told = [&] {
    std::size_t n = 0;
    for (const auto& x : all<notice>())
      n += x.code == "output_polled" && x.level == severity::info;
    return n;
  };
  CHECK(told() == 1);
  advance(300s);
  ends();
  CHECK(life() == "1"); // there still is none
  CHECK(told() == 1);
  svc->followers->give_back();
  advance(300s);
  ends();
  CHECK(life() == "1800");
  CHECK_FALSE(svc->followers->take());
  // Where its stream fails, and it is polled for that, others may have the place.
  streams.back()->fail(make_error(errc::network));
  advance(6s);
  streams.back()->fail(make_error(errc::network));
  advance(6s);
  CHECK(life() == "1");
  CHECK(svc->followers->take());
  svc->followers->give_back();
  advance(300s);
  ends();
  CHECK(life() == "1800");
  CHECK_FALSE(svc->followers->take());
  exit("pn_0", 0, 9);
  CHECK(ending() == "completed");
  CHECK(svc->followers->take()); // given back with the sandbox
}

TEST_CASE("a fifth of the streams is left to commands") {
  using actors::follower_places;
  CHECK(sandbox::streams_of(1024) == 714);
  CHECK(sandbox::streams_of(20'000) == 14'000);
  CHECK(follower_places::share_of(14'000) == 11'200);
  CHECK(follower_places::share_of(1) == 1);
  auto places = std::make_shared<follower_places>(1);
  {
    actors::follower_place mine, other;
    CHECK(mine.have(places));
    CHECK(mine.have(places)); // the same
    CHECK_FALSE(other.have(places));
    mine.give_back();
    mine.give_back();
    CHECK(other.have(places));
    CHECK_FALSE(mine.have(places));
  }
  CHECK(places->take());
}

TEST_CASE_METHOD(sandbox_world,
                 "output of attempts that were never started is not believed and costs no file") {
  svc->load_panes = [this](const sandbox_id&) -> result<std::vector<pane_record>> {
    auto rows = start.panes;
    rows[0].attempt = 1;
    return rows;
  };
  begin();
  for (std::uint32_t g : {0U, 2U, 4'000'000'000U}) {
    api->streams.back()->emit(frame(follow_kind::data, follow_data{{"pn_0"}, g, 0, {"never"}}));
    advance(6s); // longer than any wait
  }
  api->streams.back()->emit(frame(follow_kind::exit, follow_exit{{"pn_0"}, 2, 0, 0, 0, {}}));
  advance(6s);
  REQUIRE(all<poll_failed>().size() == 4);
  for (const auto& e : all<poll_failed>())
    CHECK(e.why.code == errc::bad_frame);
  output("pn_0", 0, "said");
  std::set<std::string> files;
  for (const auto& file :
       std::filesystem::directory_iterator{ctx->log_path({"pn_0"}, 1).parent_path()})
    files.insert(file.path().filename().string());
  CHECK(files == std::set<std::string>{"pn_0.1.log"});
  exit("pn_0", 0, 4);
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "an envd that hangs is unhealthy, told, and not lost") {
  begin();
  auto before = api->count(operation::health);
  auto gets = api->count(operation::get);
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
  CHECK(api->count(operation::get) == gets + 1); // the provider still has it
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

TEST_CASE_METHOD(sandbox_world, "whenever a sandbox began, it ticks when all others do") {
  begin();
  advance(30s);
  auto asked = api->count(operation::usage);
  auto waited = 0ms;
  for (; waited < 60s && api->count(operation::usage) == asked; waited += 250ms)
    advance(250ms);
  REQUIRE(api->count(operation::usage) == asked + 1);
  CHECK(v.now() % 5s < 250ms); // limits().tick, by the clock that all share
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world,
                 "samples of resources come on the tick, and nearing a limit is told") {
  begin();
  auto& figures = api->boxes.at("i100000").usage;
  figures = {{}, 2, 40, 500, 1000, 0, 100, 1000};
  advance(6s);
  REQUIRE(all<usage_sampled>().size() == 1);
  CHECK(all<usage_sampled>()[0].cpu_percent == 40);
  CHECK(all<usage_sampled>()[0].memory_total_bytes == 1000);
  auto checks = api->count(operation::health);
  advance(2min);
  CHECK(api->count(operation::usage) >= 4);       // asked all the time
  CHECK(api->count(operation::health) == checks); // a sample says that it is alive as well
  CHECK(all<usage_sampled>().size() == 1);        // told only where it differs
  CHECK(count("near_limit") == 0);
  figures.memory_used_bytes = 930;
  advance(2min);
  CHECK(count("near_limit") == 1);
  CHECK(all<usage_sampled>().size() == 2);
  api->fail(operation::usage, make_error(errc::network)); // no matter of health, which is asked
  advance(1min);
  CHECK(api->count(operation::health) > checks);
  CHECK(count("unhealthy") == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world,
                 "a sample that never comes is a question without an answer, the next one is "
                 "for health alone") {
  begin();
  advance(6s);
  REQUIRE(api->count(operation::usage) == 1);
  api->hold(operation::usage);
  advance(41s); // the next question, and its time
  CHECK(api->count(operation::usage) == 2);
  CHECK(count("unhealthy") == 1);
  advance(30s);
  CHECK(count("healthy") == 1); // by its health check
  advance(2min);
  CHECK(count("unhealthy") == 1);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "failures in between do not add up") {
  begin();
  auto gets = api->count(operation::get);
  for (int i = 0; i < 4; ++i) {
    if (i > 0) api->fail(operation::usage, make_error(errc::network)); // what is asked first then
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

TEST_CASE_METHOD(sandbox_world,
                 "a sandbox that never answers a probe is unhealthy after as many as are set") {
  svc->limits.health_failures = 2;
  begin();
  api->hold(operation::health);
  advance(16s); // asked at 5 s, its time was over at 15 s
  CHECK(count("unhealthy") == 1);
  CHECK(health_by(signs_in(*log, ctx->sandbox), svc->limits, svc->wall_now())
        == health_state::degraded);
  advance(5min);
  CHECK(count("unhealthy") == 2);
  CHECK(all<notice>().back().text.find("2/2: timed_out") != std::string::npos);
  CHECK(health_by(signs_in(*log, ctx->sandbox), svc->limits, svc->wall_now())
        == health_state::unhealthy);
  api->release(operation::health);
  advance(31s);
  CHECK(health_by(signs_in(*log, ctx->sandbox), svc->limits, svc->wall_now())
        == health_state::healthy);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(
    sandbox_world,
    "a poller that is started again counts on, and takes back what was told before it") {
  begin();
  auto start_again = [this] {
    caf::anon_send_exit(ctx->health(), caf::exit_reason::kill);
    advance(3s);
  };
  api->fail(operation::health, make_error(errc::network));
  advance(6s);
  CHECK(count("unhealthy") == 1);
  start_again();
  api->fail(operation::health, make_error(errc::network));
  advance(6s);
  CHECK(count("unhealthy") == 2);
  CHECK(all<notice>().back().text.find("2/3: network") != std::string::npos);
  CHECK(signs_in(*log, ctx->sandbox).probe_failures == 2);
  start_again();
  advance(6s); // its first question is answered
  CHECK(count("healthy") == 1);
  CHECK(signs_in(*log, ctx->sandbox).probe_failures == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
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
