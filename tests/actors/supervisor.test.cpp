#include "tests/actors/probe.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/virtual_system.hpp"

using namespace skep;
using namespace skep::actors;
using namespace skep::test;
using namespace std::chrono_literals;

namespace {

/// A supervisor with probes under the virtual clock.
struct hive {
  diary log;
  std::vector<child_restarted> restarted;
  std::vector<supervisor_gave_up> lost;
  std::vector<std::string> ended;
  std::vector<std::string> refused;
  virtual_system v; // last: actors end before what they write to
  supervisor_actor top;

  ~hive() { top = nullptr; }

  supervisor_options options(strategy plan = strategy::one_for_one) {
    supervisor_options o;
    o.path = "root";
    o.plan = plan;
    o.policy = {
        .max_restarts = 3, .period = 60s, .backoff_min = 1s, .backoff_max = 10s, .jitter = 0};
    o.seed = 7;
    o.on_restarted = [this](const child_restarted& e) { restarted.push_back(e); };
    o.on_gave_up = [this](const supervisor_gave_up& e) { lost.push_back(e); };
    o.on_ended = [this](const std::string& id, const caf::error& why) {
      ended.push_back(id + ": " + describe(why));
    };
    o.on_refused = [this](const std::string& path, bool gone) {
      refused.push_back(path + (gone ? " lost" : " killed"));
    };
    return o;
  }

  void start(supervisor_options o, std::vector<child_spec> kids) {
    top = v.root(spawn_supervisor(v.sys, std::move(o), std::move(kids)));
    v.run();
  }
  std::vector<child_spec> probes(const char* ids) {
    std::vector<child_spec> out;
    for (; *ids; ++ids)
      out.push_back(probe_spec(log, std::string(1, *ids)));
    return out;
  }
  caf::actor find(const std::string& id) {
    auto h = v.ask<caf::strong_actor_ptr>(top, get_child_a::value, id);
    return h ? caf::actor_cast<caf::actor>(*h) : caf::actor{};
  }
  template <class Atom>
  void tell(const std::string& id, Atom a) {
    auto h = find(id);
    REQUIRE(h);
    caf::anon_send(h, a);
    v.run();
  }
  void crash(const std::string& id) { tell(id, crash_a::value); }
  std::string diary_since(std::size_t n) {
    diary d;
    d.lines.assign(log.lines.begin() + static_cast<std::ptrdiff_t>(n), log.lines.end());
    return d.text();
  }
};

} // namespace

TEST_CASE_METHOD(hive, "children start left to right and stop right to left") {
  start(options(), probes("abc"));
  CHECK(log.text() == "+a +b +c");
  CHECK(v.running() == 4);
  CHECK(*v.ask<std::vector<std::string>>(top, ids_a::value)
        == std::vector<std::string>{"a", "b", "c"});
  v.stop_roots();
  CHECK(log.text() == "+a +b +c -c -b -a");
  CHECK(v.running() == 0);
  CHECK(v.reason_of(top) == caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(hive, "one_for_one restarts the child that failed and no other") {
  start(options(), probes("abc"));
  auto before = find("b");
  crash("b");
  CHECK_FALSE(find("b")); // waits for its backoff
  v.advance(999ms);
  CHECK(log.text() == "+a +b +c -b");
  v.advance(1ms);
  CHECK(log.text() == "+a +b +c -b +b");
  CHECK(find("b") != before);
  REQUIRE(restarted.size() == 1);
  CHECK(restarted[0].path == "root/b");
  CHECK(restarted[0].delay_ms == 1000);
  CHECK(restarted[0].restarts == 1);
  CHECK(restarted[0].reason.find("crash") != std::string::npos);
}

TEST_CASE_METHOD(hive, "one_for_all stops all right to left and starts them left to right") {
  start(options(strategy::one_for_all), probes("abc"));
  crash("b");
  CHECK(log.text() == "+a +b +c -b -c -a");
  v.advance(1s);
  CHECK(diary_since(6) == "+a +b +c");
  CHECK(restarted.size() == 1);
}

TEST_CASE_METHOD(hive, "rest_for_one keeps what was started before the child that failed") {
  start(options(strategy::rest_for_one), probes("abcd"));
  crash("b");
  CHECK(log.text() == "+a +b +c +d -b -d -c");
  v.advance(1s);
  CHECK(diary_since(7) == "+b +c +d");
}

TEST_CASE_METHOD(hive, "a failure further left widens a group restart that is under way") {
  start(options(strategy::rest_for_one), probes("abcd"));
  crash("c");
  CHECK(diary_since(4) == "-c -d");
  crash("b");
  CHECK(diary_since(6) == "-b");
  v.advance(1s);
  CHECK(diary_since(7) == "+b +c +d");
  CHECK(restarted.size() == 2);
}

TEST_CASE_METHOD(hive, "a child that is added during a group restart starts with the group") {
  start(options(strategy::one_for_all), probes("ab"));
  crash("a");
  auto waiting = v.self->request(top, caf::infinite, add_child_a::value, probe_spec(log, "c"));
  v.run();
  CHECK(log.text() == "+a +b -a -b");
  v.advance(1s);
  CHECK(diary_since(4) == "+a +b +c");
  bool answered = false;
  waiting.receive([&](caf::strong_actor_ptr& h) { answered = h != nullptr; }, [](caf::error&) {});
  CHECK(answered);
}

TEST_CASE_METHOD(hive, "transient children are restarted after errors only, temporary never") {
  start(options(), {probe_spec(log, "t", restart_kind::transient),
                    probe_spec(log, "u", restart_kind::transient),
                    probe_spec(log, "x", restart_kind::temporary)});
  tell("t", end_a::value);
  crash("u");
  crash("x");
  v.advance(10s);
  CHECK(diary_since(3) == "-t -u -x +u");
  REQUIRE(ended.size() == 2);
  CHECK(ended[0] == "t: normal");
  CHECK(ended[1].substr(0, 2) == "x:");
  CHECK(*v.ask<std::vector<std::string>>(top, ids_a::value) == std::vector<std::string>{"u"});
}

TEST_CASE_METHOD(hive, "the backoff doubles up to its cap and begins anew after a sound period") {
  auto o = options();
  o.policy.max_restarts = 100;
  start(std::move(o), probes("a"));
  for (int i = 0; i < 6; ++i) {
    crash("a");
    v.advance(10s);
  }
  std::vector<std::int64_t> delays;
  for (auto& r : restarted)
    delays.push_back(r.delay_ms);
  CHECK(delays == std::vector<std::int64_t>{1000, 2000, 4000, 8000, 10000, 10000});
  v.advance(61s);
  crash("a");
  CHECK(restarted.back().delay_ms == 1000);
  CHECK(restarted.back().restarts == 1); // the window is empty again
}

TEST_CASE("jitter shortens a backoff by at most its part and is the same for the same seed") {
  auto delays = [](std::uint64_t seed) {
    hive h;
    auto o = h.options();
    o.seed = seed;
    o.policy.jitter = 0.5;
    o.policy.max_restarts = 100;
    h.start(std::move(o), h.probes("a"));
    for (int i = 0; i < 5; ++i) {
      h.crash("a");
      h.v.advance(10s);
    }
    std::vector<std::int64_t> out;
    for (auto& r : h.restarted)
      out.push_back(r.delay_ms);
    return out;
  };
  const auto one = delays(1);
  CHECK(one == delays(1));
  CHECK(one != delays(2));
  const std::int64_t whole[] = {1000, 2000, 4000, 8000, 10000};
  for (std::size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i] >= whole[i] / 2);
    CHECK(one[i] <= whole[i]);
  }
}

TEST_CASE_METHOD(hive, "more restarts than the intensity end the supervisor with gave_up") {
  start(options(), probes("ab"));
  for (int i = 0; i < 3; ++i) {
    crash("a");
    v.advance(8s);
  }
  CHECK(lost.empty());
  crash("a");
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].path == "root");
  CHECK(lost[0].child == "a");
  CHECK(v.running() == 0); // b was stopped in order
  const auto why = v.reason_of(top);
  CHECK(gave_up(why));
  CHECK_FALSE(gave_up(caf::exit_reason::kill));
}

TEST_CASE_METHOD(hive, "restarts that are further apart than the period never add up") {
  start(options(), probes("a"));
  for (int i = 0; i < 20; ++i) {
    crash("a");
    v.advance(25s); // at most three in any 60 s
  }
  CHECK(lost.empty());
  CHECK(restarted.size() == 20);
}

TEST_CASE_METHOD(hive, "a parent sees its child supervisor give up and restarts all of it") {
  auto inner = [this](caf::scheduled_actor* parent) {
    auto o = options();
    o.path = "root/inner";
    o.policy.max_restarts = 1;
    return caf::actor_cast<caf::strong_actor_ptr>(
        spawn_supervisor(parent, std::move(o), probes("x")));
  };
  child_spec s;
  s.id = "inner";
  s.start = inner;
  start(options(), {s});
  auto x = [&] {
    auto in = caf::actor_cast<supervisor_actor>(find("inner"));
    return caf::actor_cast<caf::actor>(
        *v.ask<caf::strong_actor_ptr>(in, get_child_a::value, std::string{"x"}));
  };
  caf::anon_send(x(), crash_a::value);
  v.advance(1s);
  caf::anon_send(x(), crash_a::value);
  v.advance(1s);
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].path == "root/inner");
  REQUIRE(restarted.size() == 2); // x, then inner
  CHECK(restarted[1].path == "root/inner");
  CHECK(restarted[1].reason.substr(0, 8) == "gave_up:");
  CHECK(log.text() == "+x -x +x -x +x");
  CHECK(v.running() == 3);
}

TEST_CASE_METHOD(hive, "a child that ignores the request to stop is killed after its grace") {
  auto stubborn = probe_spec(log, "s", restart_kind::permanent, true);
  stubborn.grace = 3s;
  start(options(), {probe_spec(log, "a"), stubborn, probe_spec(log, "z")});
  caf::anon_send_exit(top, caf::exit_reason::user_shutdown);
  v.advance(2999ms);
  CHECK(log.text() == "+a +s +z -z"); // a waits for s
  CHECK(refused.empty());
  v.advance(1ms);
  CHECK(log.text() == "+a +s +z -z -s -a");
  CHECK(refused == std::vector<std::string>{"root/s killed"});
  CHECK(v.running() == 0);
}

TEST_CASE_METHOD(hive, "children that are stopped together are asked at once") {
  auto o = options();
  o.stop_together = true;
  std::vector<child_spec> kids;
  for (int i = 0; i < 3; ++i) {
    kids.push_back(
        probe_spec(log, std::string(1, static_cast<char>('a' + i)), restart_kind::permanent, true));
    kids.back().grace = 3s;
  }
  start(std::move(o), std::move(kids));
  caf::anon_send_exit(top, caf::exit_reason::user_shutdown);
  v.advance(3s);
  CHECK(v.running() == 0); // not 9 s
  CHECK(refused.size() == 3);
}

TEST_CASE_METHOD(hive, "a child past its deadline is stopped and not restarted") {
  auto mortal = probe_spec(log, "m");
  mortal.deadline = 60s;
  start(options(), {mortal, probe_spec(log, "a")});
  v.advance(30s);
  crash("m"); // a restart does not move the deadline
  v.advance(29s);
  CHECK(find("m"));
  v.advance(1s);
  CHECK_FALSE(find("m"));
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].substr(0, 12) == "m: timed_out");
  v.advance(1h);
  CHECK(log.text() == "+m +a -m +m -m");
}

TEST_CASE_METHOD(hive, "children come and go at run time") {
  start(options(), {});
  auto added = v.ask<caf::strong_actor_ptr>(top, add_child_a::value, probe_spec(log, "n"));
  REQUIRE(added);
  CHECK(caf::actor_cast<caf::actor>(*added) == find("n"));
  auto twice = v.ask<caf::strong_actor_ptr>(top, add_child_a::value, probe_spec(log, "n"));
  REQUIRE_FALSE(twice);
  CHECK(from_caf(twice.error()).code == errc::exists);
  CHECK(v.ask<void>(top, del_child_a::value, std::string{"n"}));
  CHECK(log.text() == "+n -n"); // the answer came after its end
  auto none = v.ask<void>(top, del_child_a::value, std::string{"n"});
  REQUIRE_FALSE(none);
  CHECK(from_caf(none.error()).code == errc::not_found);
  CHECK(v.ask<caf::strong_actor_ptr>(top, add_child_a::value, probe_spec(log, "n")));
}

TEST_CASE_METHOD(hive, "a start that throws or gives nothing counts as a failure") {
  int tries = 0;
  child_spec s;
  s.id = "bad";
  s.start = [&](caf::scheduled_actor*) -> caf::strong_actor_ptr {
    if (++tries % 2) throw std::runtime_error("no luck");
    return nullptr;
  };
  SECTION("a first child is retried until the supervisor gives up") {
    start(options(), {probe_spec(log, "a"), s});
    v.advance(60s);
    CHECK(tries == 4);
    CHECK(lost.size() == 1);
    CHECK(v.running() == 0);
  }
  SECTION("a dynamic one is refused and not kept") {
    start(options(), {});
    auto r = v.ask<caf::strong_actor_ptr>(top, add_child_a::value, s);
    REQUIRE_FALSE(r);
    CHECK(from_caf(r.error()).message.find("bad") != std::string::npos);
    v.advance(60s);
    CHECK(tries == 1);
    CHECK(restarted.empty());
  }
}

TEST_CASE_METHOD(hive, "a killed supervisor takes its children with it") {
  start(options(), probes("abc"));
  caf::anon_send_exit(top, caf::exit_reason::kill);
  v.run();
  CHECK(v.running() == 0);
}

TEST_CASE_METHOD(hive, "stopping while a restart is due cancels the restart") {
  start(options(), probes("ab"));
  crash("a");
  caf::anon_send_exit(top, caf::exit_reason::user_shutdown);
  v.advance(1h);
  CHECK(log.text() == "+a +b -a -b");
  CHECK(v.running() == 0);
}

TEST_CASE_METHOD(hive, "an invalid policy ends the supervisor with the reason") {
  auto o = options();
  o.policy.jitter = 2;
  start(std::move(o), probes("a"));
  CHECK(log.lines.empty());
  CHECK(from_caf(v.reason_of(top)).code == errc::out_of_range);
  restart_policy p;
  CHECK_FALSE(p.validate());
  p.backoff_max = p.backoff_min - 1ns;
  CHECK(p.validate());
  p = {};
  p.period = 0s;
  CHECK(p.validate());
}

TEST_CASE_METHOD(hive,
                 "a restart storm among ten thousand children settles, and all of them stop") {
  auto o = options();
  o.policy.max_restarts = 100'000;
  o.policy.jitter = 0.9;
  o.stop_together = true;
  std::vector<child_spec> kids;
  for (int i = 0; i < 10'000; ++i)
    kids.push_back(probe_spec(log, std::to_string(i)));
  start(std::move(o), std::move(kids));
  CHECK(v.running() == 10'001);
  auto ids = *v.ask<std::vector<std::string>>(top, ids_a::value);
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < ids.size(); i += 2)
      caf::anon_send(find(ids[i]), crash_a::value);
    v.advance(10s);
    CHECK(v.running() == 10'001);
  }
  CHECK(restarted.size() == 10'000);
  v.stop_roots();
  CHECK(v.running() == 0);
}
