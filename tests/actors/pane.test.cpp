// Scripts of the PANE: its attempts, its stops, its input, what its word is worth.
#include "tests/actors/pane_world.hpp"

using namespace skep;
using namespace skep::test;

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
  CHECK(api->boxes["i1"].files.at("/home/user/.skep/in/pn_a.input."
                                  + transfer::sha256_of("k1").substr(0, 16))
        == "hello\n");

  api->fail(operation::write_file, make_error(errc::network));
  REQUIRE(v.ask<std::uint64_t>(pane, input_a::value, std::string{"k2"}, std::string{"x"}));
  v.advance(1s);
  CHECK(all<input_receipt>().back().state == receipt::expired);
  REQUIRE(all<notice>().size() == 1); // why it did not arrive
  CHECK(all<notice>()[0].code == "input_not_written");
}

TEST_CASE_METHOD(pane_world, "a key that looks like a path leads nowhere") {
  begin();
  for (const char* key : {"../../x", "x/../../../name", ".."})
    REQUIRE(v.ask<std::uint64_t>(pane, input_a::value, std::string{key}, std::string{"x"}));
  v.advance(1s);
  std::size_t written = 0;
  for (const auto& call : api->calls)
    if (call.op == operation::write_file) {
      ++written;
      INFO(call.what);
      CHECK(call.what.find("/home/user/.skep/in/pn_a.input.") != std::string::npos);
      CHECK(call.what.find("..") == std::string::npos);
      CHECK(call.what.find("name") == std::string::npos);
    }
  CHECK(written == 3);
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

namespace {

/// An agent that gives its word of success, over a work tree of which its sandbox says `answer`.
struct word_world : pane_world {
  int asked = 0;

  word_world() {
    spec->agent = agent_kind::claude;
    spec->argv.clear();
    spec->prompts = {"work"};
    ctx->base_commit(std::string(40, 'b'));
  }
  void sandbox_says(std::string text, int exit_code = 0) {
    guest["changed"] = [this, text, exit_code](const sandbox::command& c) {
      ++asked;
      CHECK(c.argv
            == strings{ctx->guest_path(), "changed", "--tree", ctx->tree_of(rec.name), "--base",
                       std::string(40, 'b')});
      return result<command_result>{said(text, exit_code)};
    };
  }
  /// Its agent reports success and exits with 0.
  void says_done() {
    outputs(R"({"type":"result","subtype":"success","is_error":false,"result":"done"})"
            "\n");
    exit(0);
  }
  /// What the pane was closed with, after its agent said that all is done.
  pane_closed done() {
    begin();
    settle();
    says_done();
    settle();
    REQUIRE(count("pane.closed") == 1);
    return all<pane_closed>().at(0);
  }
};

} // namespace

TEST_CASE_METHOD(word_world,
                 "a success over a work tree without a change is suspect, and says why") {
  sandbox_says("{\"changed\":false}\n");
  auto end = done();
  CHECK(end.result == outcome::suspect);
  CHECK(end.why.code == errc::suspect_result);
  CHECK(end.why.step == "agent");
  CHECK(end.why.message.find("changed no file") != std::string::npos);
  CHECK(end.why.message.find("--allow-no-changes") != std::string::npos);
  CHECK(up.lines.back() == "closed suspect suspect_result@agent");
}

TEST_CASE_METHOD(word_world, "a success over a changed work tree is one") {
  sandbox_says("{\"changed\":true}\n");
  auto end = done();
  CHECK(end.result == outcome::completed);
  CHECK_FALSE(end.why);
  CHECK(asked == 1);
}

TEST_CASE_METHOD(word_world, "where no change is allowed for, nobody asks for one") {
  sandbox_says("{\"changed\":false}\n");
  spec->allow_no_changes = true;
  CHECK(done().result == outcome::completed);
  CHECK(asked == 0);
}

TEST_CASE_METHOD(word_world, "a command's exit code is its own evidence") {
  sandbox_says("{\"changed\":false}\n");
  spec->agent = agent_kind::command;
  spec->argv = {"make"};
  spec->prompts.clear();
  CHECK(done().result == outcome::completed);
  CHECK(asked == 0);
}

TEST_CASE_METHOD(word_world, "a sandbox that cannot say whether anything changed leaves its agent "
                             "its word") {
  SECTION("a guest of an older release") {
    sandbox_says("{\"error\":\"bad_argument\",\"message\":\"no such command\"}\n", 2);
    CHECK(done().result == outcome::completed);
    CHECK(asked == 1);
  }
  SECTION("nonsense") {
    sandbox_says("{\"changed\":\"perhaps\"}\n");
    CHECK(done().result == outcome::completed);
  }
  SECTION("a provider that is away: asked again, then believed") {
    guest["changed"] = [this](const sandbox::command&) -> result<command_result> {
      ++asked;
      return make_error(errc::network, "away");
    };
    begin();
    settle();
    says_done();
    CHECK(count("pane.closed") == 0);
    advance(10min);
    CHECK(asked == static_cast<int>(svc->limits.step_attempts));
    CHECK(all<pane_closed>().at(0).result == outcome::completed);
  }
}

TEST_CASE_METHOD(word_world,
                 "a sandbox that goes while it is asked for changes closes its pane once") {
  sandbox_says("{\"changed\":false}\n");
  begin();
  settle();
  api->hold(operation::run);
  says_done();
  CHECK(count("pane.exited") == 1);
  CHECK(count("pane.closed") == 0);
  tell(stop_a::value, stop_mode::kill);
  CHECK(all<pane_closed>().at(0).result == outcome::killed);
  api->release(operation::run);
  settle();
  CHECK(count("pane.closed") == 1);
}
