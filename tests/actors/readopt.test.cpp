// Scripts of the SANDBOX that is started again, in every phase: it goes on from the state tables
// and repeats no side effect.
#include "actors/transfer.hpp"

#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

namespace {

/// The state tables as facts make them, as far as the SANDBOX reads them.
struct readopt_world : sandbox_world {
  bool tables_fail = false;

  readopt_world() {
    svc->load_sandbox = [this](const sandbox_id&) -> result<sandbox_record> {
      if (tables_fail) return make_error(errc::io);
      if (count("sandbox.queued") == 0) return make_error(errc::not_found);
      return fold_sandbox();
    };
    svc->load_panes = [this](const sandbox_id&) -> result<std::vector<pane_record>> {
      return fold_panes();
    };
  }
  sandbox_record fold_sandbox() const {
    auto r = start.record;
    for_each([&]<class E>(const E& e) {
      if constexpr (std::is_same_v<E, phase_changed>) r.state = e.to;
      if constexpr (std::is_same_v<E, create_intended>) {
        r.intent = e.intent;
        r.unresolved = true;
      }
      if constexpr (std::is_same_v<E, sandbox_created>) {
        r.remote_id = e.remote_id;
        r.unresolved = false;
      }
      if constexpr (std::is_same_v<E, create_failed>) r.unresolved = false;
      if constexpr (std::is_same_v<E, base_recorded>) r.base_commit = e.commit;
      if constexpr (std::is_same_v<E, kill_intended>) r.kill_intended = true;
      if constexpr (std::is_same_v<E, sandbox_closed>) {
        r.state = phase::closed;
        r.result = e.result;
      }
    });
    return r;
  }
  std::vector<pane_record> fold_panes() const {
    auto rows = start.panes;
    for_each([&]<class E>(const E& e) {
      if constexpr (requires { e.pane, e.attempt; }) {
        auto i = std::find_if(rows.begin(), rows.end(), [&](auto& p) { return p.pane == e.pane; });
        if (i == rows.end()) return;
        i->attempt = e.attempt;
        if constexpr (std::is_same_v<E, pane_start_intended>) i->state = pane_phase::starting;
        if constexpr (std::is_same_v<E, pane_started>) i->state = pane_phase::running;
        if constexpr (std::is_same_v<E, pane_exited>) {
          i->state = pane_phase::exited;
          i->exit_code = e.exit_code;
        }
        if constexpr (std::is_same_v<E, pane_closed>) {
          i->state = pane_phase::closed;
          i->result = e.result;
        }
      }
    });
    return rows;
  }
  template <class F>
  void for_each(F f) const {
    for (const auto& c : log->committed)
      for (event_reader r{c.body.data}; !r.done();) {
        auto e = interpret(*r.next());
        if (e.ok()) std::visit(f, *e);
      }
  }
  /// The actor dies without a word; its supervisor starts it again.
  void crash() {
    auto old = ctx->keeper();
    caf::anon_send_exit(old, caf::exit_reason::kill);
    settle();
    advance(3s);
    CHECK(ctx->keeper() != old);
  }
  /// Holds the answers of `op` from the first call of skep-guest with this word on.
  void hold_at(const std::string& word, operation op) {
    auto usual = guest.at(word);
    guest[word] = [this, usual, op, done = std::make_shared<bool>(false)](
                      const sandbox::command& c) -> result<command_result> {
      if (!std::exchange(*done, true)) api->hold(op);
      return usual(c);
    };
  }
};

} // namespace

TEST_CASE_METHOD(readopt_world,
                 "a sandbox actor that dies in any phase goes on and repeats nothing") {
  auto at =
      GENERATE(phase::creating, phase::verifying, phase::provisioning, phase::uploading,
               phase::starting, phase::running, phase::draining, phase::collecting, phase::closed);
  INFO(to_string(at));
  panes(2);
  auto held = operation::run;
  switch (at) {
  case phase::creating:
    api->hold(held = operation::create);
    break;
  case phase::verifying:
    api->hold(held = operation::health);
    break;
  case phase::provisioning:
    hold_at("--version", operation::run);
    break;
  case phase::uploading:
    api->hold(held = operation::upload_file);
    break;
  case phase::starting:
    hold_at("pane", operation::run);
    break;
  case phase::collecting:
    api->hold(held = operation::download_file);
    break;
  case phase::closed:
    api->hold(held = operation::kill);
    break;
  default:
    break;
  }
  begin();
  if (at == phase::draining) stop(stop_mode::graceful);
  if (at >= phase::collecting) {
    exit("pn_0");
    exit("pn_1");
  }
  if (at != phase::closed) REQUIRE(phases().back() == to_string(at));
  crash();
  api->release(held);
  advance(1s);
  if (at < phase::collecting) {
    exit("pn_0");
    exit("pn_1");
  }
  advance(3s);
  CHECK(ending() == (at == phase::draining ? "cancelled" : "completed"));
  CHECK(api->count(operation::create) == 1);
  CHECK(count("sandbox.create_intended") == 1);
  CHECK(count("sandbox.created") == 1);
  CHECK(count("pane.start_intended") == 2); // no agent was started twice
  CHECK(count("pane.started") == 2);
  CHECK(count("sandbox.base_recorded") == 1);
  // Found again with work to do: its lease is renewed.
  auto renewed = at >= phase::uploading && at < phase::closed;
  CHECK(api->count(operation::set_timeout) == (renewed ? 2 : 1));
  CHECK(count("sandbox.lease_intended") == (renewed ? 2 : 1));
  CHECK(count("sandbox.kill_intended") == 1);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(api->boxes.empty());
  auto seen = phases(); // each once, in order
  auto sorted = seen;
  std::sort(sorted.begin(), sorted.end());
  CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
}

TEST_CASE_METHOD(readopt_world, "a sandbox actor that cannot read its tables does not start anew") {
  begin();
  tables_fail = true;
  caf::anon_send_exit(ctx->keeper(), caf::exit_reason::kill);
  settle();
  advance(2s);
  tables_fail = false;
  advance(10s);
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(api->count(operation::create) == 1);
}

TEST_CASE_METHOD(readopt_world,
                 "an actor that dies before its first event starts as the first one") {
  // Its supervisor starts it; it dies before its events reach the journal.
  parent = v.root(spawn_supervisor(v.sys, supervisor_options{},
                                   {sandbox_child(ctx, start, [this] { return swarm; })}));
  caf::anon_send_exit(ctx->keeper(), caf::exit_reason::kill);
  advance(3s);
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(api->count(operation::create) == 1);
}

TEST_CASE_METHOD(sandbox_world,
                 "an unpacking of a former daemon has ended before the next one begins, "
                 "whatever came of its first kill") {
  recorded(phase::uploading);
  start.record.base_commit.clear();
  sandbox::command former;
  former.argv = {ctx->guest_path(), "unpack", "--dest", "/home/user/repo"};
  api->boxes["i1"].processes[77] = former;
  sandbox::command setup;
  setup.argv = {"make"};
  setup.tag = setup_tag;
  api->boxes["i1"].processes[78] = setup;
  sandbox::command holder; // stays
  holder.argv = {ctx->guest_path(), "pane"};
  api->boxes["i1"].processes[79] = holder;
  api->fail(operation::send_signal, make_error(errc::network));
  api->fail(operation::send_signal, make_error(errc::network));
  std::vector<std::size_t> running; // when something was unpacked or removed
  auto unpack = guest["unpack"];
  guest["unpack"] = [&](const sandbox::command& c) {
    running.push_back(api->boxes["i1"].processes.size());
    return unpack(c);
  };
  api->turn_down = [&](operation op, const std::string& what) -> error {
    if (op == operation::remove && what == "/home/user/repo")
      running.push_back(api->boxes["i1"].processes.size());
    return {};
  };
  begin();
  advance(5s);
  CHECK(running == std::vector<std::size_t>{1, 1}); // the pane's holder alone
  CHECK(api->count(operation::send_signal) == 4);
  CHECK(count("sandbox.base_recorded") == 1);
}

TEST_CASE_METHOD(sandbox_world,
                 "a sandbox in which a former daemon's unpacking does not end is given "
                 "up by name, and nothing is unpacked beside it") {
  recorded(phase::uploading);
  start.record.base_commit.clear();
  sandbox::command former;
  former.argv = {ctx->guest_path(), "unpack", "--dest", "/home/user/repo"};
  api->boxes["i1"].processes[77] = former;
  api->turn_down = [](operation op, const std::string&) {
    return op == operation::send_signal ? make_error(errc::network) : error{};
  };
  begin();
  advance(60s);
  CHECK(guest_calls("unpack") == 0);
  REQUIRE(count("sandbox.closed") == 1);
  auto end = all<sandbox_closed>().at(0);
  CHECK(end.result == outcome::failed);
  CHECK(end.why.code == errc::timed_out);
  CHECK(end.why.step == "adopt");
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "results are collected after a restart, whatever comes of the look "
                                "for what the former daemon began") {
  recorded(phase::collecting);
  start.panes[0].state = pane_phase::closed;
  start.panes[0].result = outcome::completed;
  std::size_t told = 1;
  SECTION("the list of processes is read at the last try") {
    told = 0;
    for (std::uint32_t i = 0; i < svc->limits.kill_attempts; ++i)
      api->fail(operation::list_processes, make_error(errc::protocol));
    begin();
    advance(9s);
    CHECK(guest_calls("diff") == 0); // not beside what may still run
    CHECK(count("sandbox.failing") == 0);
  }
  SECTION("it is never read") {
    api->turn_down = [](operation op, const std::string&) {
      return op == operation::list_processes ? make_error(errc::network) : error{};
    };
    begin();
  }
  SECTION("what it names does not end") {
    sandbox::command former;
    former.argv = {ctx->guest_path(), "diff"};
    api->boxes["i1"].processes[77] = former;
    api->turn_down = [](operation op, const std::string&) {
      return op == operation::send_signal ? make_error(errc::network) : error{};
    };
    begin();
  }
  advance(15s);
  CHECK(count("leftovers_stay") == told);
  CHECK(guest_calls("diff") == 1);
  CHECK(count("transfer.done") == 1);
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(all<sandbox_closed>().at(0).result == outcome::completed);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "a sandbox whose collecting is taken up is kept only where nothing "
                                "but its user had stopped it") {
  recorded(phase::collecting);
  start.panes[0].state = pane_phase::closed;
  start.panes[0].result = outcome::completed;
  spec->keep = true;
  bool kept = true;
  SECTION("nobody had") {}
  SECTION("its user had") {
    start.stop = stop_mode::graceful;
  }
  SECTION("the end of the daemon had") {
    start.stop = stop_mode::former_shutdown;
    kept = false;
  }
  SECTION("its time limit had") {
    start.stop = stop_mode::timed_out;
    kept = false;
  }
  begin();
  advance(15s);
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(all<sandbox_closed>().at(0).kept == kept);
  CHECK(api->boxes.size() == (kept ? 1 : 0));
}

TEST_CASE_METHOD(sandbox_world, "a sandbox that is found again has a whole lease from then on") {
  recorded(phase::running);
  begin();
  auto lease =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::milliseconds{spec->limit_ms})
      + svc->limits.lease_grace;
  CHECK(api->boxes["i1"].lease == lease);
  REQUIRE(all<lease_intended>().size() == 1);
  CHECK(count("lease_not_renewed") == 0);
}

TEST_CASE_METHOD(
    sandbox_world,
    "taking up a running sandbox asks the provider for it once, and makes and ends nothing") {
  recorded(phase::running);
  begin();
  advance(10s);
  CHECK(api->count(operation::get) == 1);
  CHECK(api->count(operation::list) == 0);
  CHECK(api->count(operation::create) == 0);
  CHECK(api->count(operation::connect) == 0); // it would resume and set a lease
  CHECK(api->count(operation::kill) == 0);
  CHECK(api->streams.size() == 1);
}

TEST_CASE_METHOD(
    sandbox_world,
    "a sandbox whose tree is on record starts its agents, and nothing is uploaded again") {
  recorded(phase::uploading);
  start.bundle = nullptr; // its swarm has none: no sandbox is without a base
  begin();
  CHECK(api->count(operation::upload_file) == 0);
  CHECK(phases() == strings{"starting", "running"});
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world,
                 "the work tree of an agent that lives is removed by no daemon that takes its "
                 "sandbox up") {
  auto at = GENERATE(phase::starting, phase::running, phase::draining);
  recorded(at);
  if (at == phase::draining) start.stop = stop_mode::graceful;
  start.panes[0].state = pane_phase::running;
  start.panes[0].attempt = 1;
  const auto tree = std::string{inside::trees} + "/p0";
  api->boxes["i1"].files[tree + "/new"] = "not committed";
  begin();
  advance(1s);
  REQUIRE(api->boxes.contains("i1"));
  CHECK(api->boxes["i1"].files[tree + "/new"] == "not committed");
  for (const auto& c : api->calls)
    if (c.op == operation::remove) {
      INFO(c.what);
      CHECK_FALSE((tree + "/").starts_with(c.what + "/"));
      CHECK(c.what != inside::repo);
    }
  for (const char* makes_anew : {"unpack", "base", "settle", "worktree"})
    CHECK(guest_calls(makes_anew) == 0);
  CHECK(api->count(operation::kill) == 0);
  REQUIRE(api->streams.size() == 1); // it is followed
  exit("pn_0", at == phase::draining ? 130 : 0);
  CHECK(ending() == (at == phase::draining ? "cancelled" : "completed"));
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(
    sandbox_world,
    "an agent that had ended by a stop when the daemon was killed is cancelled, not failed") {
  recorded(GENERATE(phase::running, phase::draining));
  start.stop = stop_mode::graceful;
  start.panes[0].state = pane_phase::exited;
  start.panes[0].attempt = 1;
  start.panes[0].exit_code = -1;
  start.panes[0].signal = 2;
  begin();
  advance(1s);
  CHECK(all<pane_closed>().at(0).result == outcome::cancelled);
  CHECK(ending() == "cancelled");
}

TEST_CASE_METHOD(sandbox_world, "an agent whose end by a stop is told before the answer to its "
                                "launch is cancelled, not failed") {
  recorded(phase::draining);
  start.stop = stop_mode::graceful;
  start.panes[0].state = pane_phase::running;
  start.panes[0].attempt = 1;
  api->hold(operation::run);
  begin();
  exit("pn_0", 130);
  advance(1s);
  REQUIRE(all<pane_closed>().size() == 1);
  CHECK(all<pane_closed>().at(0).result == outcome::cancelled);
  api->release(operation::run);
  CHECK(ending() == "cancelled");
}

TEST_CASE_METHOD(sandbox_world, "a lease that the provider does not renew now ends no work") {
  recorded(phase::running);
  api->fail(operation::set_timeout, make_error(errc::network, "after 3 attempts"));
  begin();
  CHECK(count("lease_not_renewed") == 1);
  CHECK(api->streams.size() == 1); // its agents are followed
  CHECK(api->count(operation::kill) == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}
