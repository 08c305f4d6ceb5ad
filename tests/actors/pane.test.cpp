// Scripts of the PANE alone: its SANDBOX and its poller are the test.
#include "actors/pane.hpp"

#include "tests/actors/domain_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct pane_world : world {
  pane_record rec;
  pane_actor pane;

  pane_world() {
    rec.pane = {"pn_a"};
    rec.sandbox = ctx->sandbox;
    rec.swarm = ctx->swarm;
    rec.name = "p0";
    api->boxes["i1"].info.remote_id = "i1";
    ctx->address({"i1"});
    ctx->recorder(v.root(spawn_recorder(v.sys, ctx->swarm, ctx->sandbox, svc->handles)));
    ctx->keeper(v.root(v.sys.spawn(fake_keeper, &up)));
  }
  ~pane_world() {
    pane = nullptr;
    CHECK(end() == 0);
  }
  void begin() {
    under_supervisor({"pane", [this](caf::scheduled_actor* parent) {
                        pane = spawn_pane(parent, ctx, rec);
                        return caf::actor_cast<caf::strong_actor_ptr>(pane);
                      }});
    tell(begin_a::value);
  }
  template <class... Ts>
  void tell(Ts... xs) {
    caf::anon_send(pane, xs...);
    v.run();
  }
  void exit(std::int32_t code, std::uint32_t generation = 1, std::uint64_t size = 10) {
    tell(exited_a::value, follow_exit{rec.pane, generation, code, 0, size, {}});
  }
  /// The agent's starts: the generation's folder of each.
  strings starts() const {
    strings out;
    for (const auto& c : api->calls)
      if (auto at = c.what.find(" pane --dir "); c.op == operation::run && at != c.what.npos) {
        auto dir = c.what.substr(at + 12, c.what.find(' ', at + 12) - at - 12);
        out.push_back(dir.substr(dir.rfind('/') + 1));
      }
    return out;
  }
  strings signals() const {
    strings out;
    for (const auto& c : api->calls)
      if (auto at = c.what.find(" --signal "); at != c.what.npos)
        out.push_back(c.what.substr(at + 10));
    return out;
  }
};

} // namespace

TEST_CASE_METHOD(pane_world, "an attempt leaves its facts in order") {
  begin();
  CHECK(events() == strings{"pane.start_intended", "pane.started"});
  CHECK(all<pane_started>().at(0).pid == 42);
  exit(0);
  CHECK(events() == strings{"pane.start_intended", "pane.started", "pane.exited", "pane.closed"});
  CHECK(up.lines == strings{"ready", "closed completed"});
  CHECK(all<pane_closed>().at(0).final_offset == 10);
}

TEST_CASE_METHOD(pane_world, "an exit that is faster than the fact of the start comes after it") {
  api->hold(operation::run);
  begin();
  exit(0);
  CHECK(events() == strings{"pane.start_intended"});
  api->release(operation::run);
  v.run();
  CHECK(events() == strings{"pane.start_intended", "pane.started", "pane.exited", "pane.closed"});
  CHECK(up.lines.back() == "closed completed");
}

TEST_CASE_METHOD(pane_world, "an exit that followers repeat counts once") {
  begin();
  caf::anon_send(pane, exited_a::value, follow_exit{rec.pane, 1, 0, 0, 10, {}});
  exit(0);
  exit(3);
  CHECK(count("pane.exited") == 1);
  CHECK(count("pane.closed") == 1);
  exit(0, 7); // of a generation that never was
  CHECK(count("pane.exited") == 1);
}

TEST_CASE_METHOD(pane_world, "a failing agent is restarted after growing waits, then closed") {
  spec->pane_restarts = 2;
  begin();
  exit(3, 1);
  CHECK(count("pane.restarting") == 1);
  CHECK(starts() == strings{"1"});
  v.advance(999ms);
  CHECK(starts() == strings{"1"});
  v.advance(1ms);
  CHECK(starts() == strings{"1", "2"});
  exit(3, 1); // an old one again
  CHECK(count("pane.exited") == 1);
  exit(3, 2);
  v.advance(1999ms);
  CHECK(starts().size() == 2);
  v.advance(1ms);
  CHECK(starts() == strings{"1", "2", "3"});
  exit(3, 3);
  v.advance(5min);
  CHECK(starts().size() == 3);
  auto closed = all<pane_closed>();
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].result == outcome::failed);
  CHECK(closed[0].why.code == errc::agent_failed);
  CHECK(closed[0].why.step == "agent");
  CHECK(closed[0].why.sandbox == ctx->sandbox);
  CHECK(closed[0].attempt == 3);
}

TEST_CASE_METHOD(pane_world,
                 "a stop interrupts, kills after the grace time, and gives up at last") {
  begin();
  tell(stop_a::value, stop_mode::graceful);
  CHECK(signals() == strings{"INT"});
  tell(stop_a::value, stop_mode::graceful); // once is enough
  v.advance(9s);
  CHECK(signals() == strings{"INT"});
  v.advance(1s);
  CHECK(signals() == strings{"INT", "KILL"});
  CHECK(count("pane.closed") == 0);
  v.advance(10s);
  auto closed = all<pane_closed>();
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].result == outcome::cancelled);
  CHECK(closed[0].why.code == errc::timed_out);
}

TEST_CASE_METHOD(pane_world, "an agent that ends after the interrupt is not killed") {
  spec->pane_restarts = 3;
  begin();
  tell(stop_a::value, stop_mode::timed_out);
  exit(130);
  v.advance(1min);
  CHECK(signals() == strings{"INT"});
  CHECK(starts().size() == 1);
  CHECK(all<pane_closed>().at(0).result == outcome::timed_out);
}

TEST_CASE_METHOD(pane_world, "a kill closes at once and sends nothing inside") {
  begin();
  tell(stop_a::value, stop_mode::kill);
  CHECK(signals().empty());
  CHECK(all<pane_closed>().at(0).result == outcome::killed);
}

TEST_CASE_METHOD(pane_world, "a stop between two attempts closes without a new one") {
  spec->pane_restarts = 3;
  begin();
  exit(1);
  tell(stop_a::value, stop_mode::graceful);
  v.advance(5min);
  CHECK(starts().size() == 1);
  CHECK(all<pane_closed>().at(0).result == outcome::cancelled);
}

TEST_CASE_METHOD(pane_world, "a stop in the queue of the limiter starts no agent") {
  svc->handles->put_limiter(v.root(spawn_limiter(v.sys, {1, 10})));
  REQUIRE(v.ask<void>(svc->handles->limiter(), admit_a::value, pane_id{"pn_other"}, sandbox_id{}));
  begin();
  CHECK(starts().empty());
  tell(stop_a::value, stop_mode::graceful);
  caf::anon_send(svc->handles->limiter(), release_a::value, pane_id{"pn_other"});
  v.advance(2min);
  CHECK(starts().empty());
  CHECK(count("pane.closed") == 1);
  CHECK(all<pane_closed>().at(0).result == outcome::cancelled);
  // Its place is free again.
  CHECK(v.ask<void>(svc->handles->limiter(), admit_a::value, pane_id{"pn_third"}, sandbox_id{}));
}

TEST_CASE_METHOD(pane_world, "a running pane is adopted under its generation, as no new attempt") {
  rec.state = pane_phase::running;
  rec.attempt = 2;
  begin();
  CHECK(starts() == strings{"2"}); // the guest answers with the agent that runs
  CHECK(events().empty());
  CHECK(up.lines == strings{"ready"});
  exit(0, 2);
  CHECK(events() == strings{"pane.exited", "pane.closed"});
}

TEST_CASE_METHOD(pane_world,
                 "a start whose answer the last daemon did not see is asked for again") {
  rec.state = pane_phase::starting;
  rec.attempt = 1;
  begin();
  CHECK(starts() == strings{"1"});
  CHECK(events() == strings{"pane.started"});
}

TEST_CASE_METHOD(pane_world, "a recorded exit is judged, a closed pane only told") {
  rec.attempt = 1;
  SECTION("exited") {
    rec.state = pane_phase::exited;
    rec.exit_code = 3;
    begin();
    CHECK(events() == strings{"pane.closed"});
    CHECK(up.lines == strings{"closed failed agent_failed@agent"});
  }
  SECTION("closed") {
    rec.state = pane_phase::closed;
    rec.result = outcome::completed;
    begin();
    CHECK(events().empty());
    CHECK(up.lines == strings{"closed completed"});
  }
  CHECK(starts().empty());
}

TEST_CASE_METHOD(pane_world, "a start that may succeed later is repeated, then given up") {
  for (int i = 0; i < 3; ++i)
    api->fail(operation::run, make_error(errc::network));
  SECTION("it succeeds in time") {
    begin();
    CHECK(starts().size() == 1);
    v.advance(999ms);
    CHECK(starts().size() == 1);
    v.advance(1ms);
    CHECK(starts().size() == 2);
    v.advance(2s);
    CHECK(starts().size() == 3);
    v.advance(4s);
    CHECK(starts() == strings{"1", "1", "1", "1"}); // one attempt all the time
    CHECK(events() == strings{"pane.start_intended", "pane.started"});
  }
  SECTION("it never does") {
    api->fail(operation::run, make_error(errc::network));
    begin();
    v.advance(5min);
    CHECK(starts().size() == svc->limits.step_attempts);
    CHECK(up.lines == strings{"closed failed network@run"});
  }
}

TEST_CASE_METHOD(pane_world, "a pane runs when its holder says so, however slow within its limit") {
  api->hold(operation::run);
  begin();
  v.advance(29s);
  CHECK(up.lines.empty());
  CHECK(count("pane.started") == 0);
  api->release(operation::run);
  v.run();
  CHECK(events() == strings{"pane.start_intended", "pane.started"});
  CHECK(up.lines == strings{"ready"});
  v.advance(5min);
  CHECK(count("pane.closed") == 0);
}

TEST_CASE_METHOD(pane_world,
                 "a holder that does not answer within its limit is an error that names "
                 "the pane, and is stopped inside") {
  api->hold(operation::run);
  begin();
  v.advance(30s);
  CHECK(up.lines == strings{"closed failed not_ready@start"});
  CHECK(all<pane_closed>().at(0).why.message == "p0 (pn_a) gave no word within 30 s");
  CHECK(signals() == strings{"KILL"});
  api->release(operation::run); // its word comes too late
  v.run();
  CHECK(count("pane.started") == 0);
  CHECK(signals() == strings{"KILL", "KILL"});
}

TEST_CASE_METHOD(pane_world,
                 "an agent that did not become ready is started anew as often as asked") {
  spec->pane_restarts = 1;
  api->hold(operation::run);
  begin();
  v.advance(30s);
  CHECK(count("pane.restarting") == 1);
  v.advance(1s);
  api->release(operation::run);
  v.run();
  CHECK(starts() == strings{"1", "2"});
  CHECK(count("pane.started") == 1);
  CHECK(all<pane_started>().at(0).attempt == 2);
  CHECK(up.lines == strings{"ready"});
}

TEST_CASE_METHOD(pane_world, "a start that is refused is not repeated") {
  guest["pane"] = [](const sandbox::command&) -> result<command_result> {
    return said("{\"error\":\"x\",\"message\":\"no such program\"}\n", 2);
  };
  begin();
  v.advance(5min);
  CHECK(starts().size() == 1);
  CHECK(up.lines == strings{"closed failed remote_command_failed@start"});
}

TEST_CASE_METHOD(pane_world, "input is acknowledged, written, and its fate told") {
  begin();
  auto seq = v.ask<std::uint64_t>(pane, input_a::value, std::string{"k1"}, std::string{"hello\n"});
  REQUIRE(seq);
  v.run();
  auto receipts = all<input_receipt>();
  v.advance(1s);
  receipts = all<input_receipt>();
  REQUIRE(receipts.size() == 2);
  CHECK(receipts[0].state == receipt::accepted);
  CHECK(receipts[1].state == receipt::written);
  CHECK(receipts[1].key == "k1");
  CHECK(receipts[1].size_bytes == 6);
  CHECK(api->boxes["i1"].files.at("/home/user/.skep/in/pn_a.input.k1") == "hello\n");

  api->fail(operation::write_file, make_error(errc::network));
  REQUIRE(v.ask<std::uint64_t>(pane, input_a::value, std::string{"k2"}, std::string{"x"}));
  v.advance(1s);
  CHECK(all<input_receipt>().back().state == receipt::expired);
}

TEST_CASE_METHOD(pane_world, "inputs arrive in their order, also when the first is slow or fails") {
  begin();
  api->hold(operation::write_file);
  auto send = [this](const char* key) {
    return v.ask<std::uint64_t>(pane, input_a::value, std::string{key}, std::string{key});
  };
  for (const char* key : {"k1", "k2", "k3"})
    REQUIRE(send(key));
  v.advance(1s);
  CHECK(api->count(operation::write_file) == 1);
  api->fail(operation::write_file, make_error(errc::network)); // the second
  api->release(operation::write_file);
  v.advance(1s);
  strings fates;
  for (const auto& r : all<input_receipt>())
    if (r.state != receipt::accepted)
      fates.push_back(r.key + " " + std::string{to_string(r.state)});
  CHECK(fates == strings{"k1 written", "k2 expired", "k3 written"});

  api->hold(operation::write_file);
  for (int i = 0; i < 64; ++i)
    REQUIRE(send(("n" + std::to_string(i)).c_str()));
  auto refused = send("one more");
  REQUIRE_FALSE(refused);
  CHECK(from_caf(refused.error()).code == errc::rate);
}

TEST_CASE_METHOD(pane_world, "input is refused where nobody reads it") {
  auto code = [this] {
    auto r = v.ask<std::uint64_t>(pane, input_a::value, std::string{"k"}, std::string{"x"});
    REQUIRE_FALSE(r);
    return from_caf(r.error()).code;
  };
  SECTION("an agent that reads none") {
    spec->agent = agent_kind::claude;
    spec->prompts = {"do it"};
    begin();
    CHECK(code() == errc::cannot_send);
  }
  SECTION("a pane that is over") {
    begin();
    exit(0);
    CHECK(code() == errc::wrong_phase);
  }
  CHECK(count("pane.input") == 0);
}
