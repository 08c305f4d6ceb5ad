// Scripts of the SANDBOX with its real RECORDER, PANEs and OUTPUT POLLER against a provider in
// memory.
#include "actors/sandbox.hpp"

#include "tests/actors/domain_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

struct sandbox_world : world {
  sandbox_start start;
  swarm_actor swarm;
  supervisor_actor parent;

  sandbox_world() {
    start.record.sandbox = ctx->sandbox;
    start.record.swarm = ctx->swarm;
    panes(1);
    auto bundle = std::make_shared<upload_bundle>();
    bundle->archive = tmp.file("tree.tar", "an archive");
    bundle->files = 3;
    bundle->size_bytes = 300;
    bundle->manifest_sha256 = "cafe";
    start.bundle = bundle;
    swarm = v.root(v.sys.spawn(fake_swarm, &up));
  }
  ~sandbox_world() {
    swarm = nullptr;
    parent = nullptr;
    CHECK(end() == 0);
  }
  void panes(std::uint32_t n) {
    spec->panes = n;
    start.panes.clear();
    for (std::uint32_t i = 0; i < n; ++i) {
      pane_record p;
      p.pane = {"pn_" + std::to_string(i)};
      p.index = i;
      p.name = "p" + std::to_string(i);
      p.branch = "skep/" + p.name;
      p.sandbox = ctx->sandbox;
      p.swarm = ctx->swarm;
      start.panes.push_back(p);
    }
  }
  void begin() {
    parent = under_supervisor(sandbox_child(ctx, start, [this] { return swarm; }));
    settle();
  }
  /// The record of a former daemon: in this phase, at the provider as i1.
  void recorded(phase at) {
    start.fresh = false;
    start.bundle = at < phase::starting ? start.bundle : nullptr;
    start.record.state = at;
    start.record.remote_id = "i1";
    start.record.base_commit = "b45e";
    auto& info = api->boxes["i1"].info;
    info.remote_id = "i1";
    info.address = {"i1", "token", ""};
  }
  void stop(stop_mode how) {
    caf::anon_send(ctx->keeper(), stop_a::value, how);
    settle();
  }
  template <class T>
  static std::string frame(follow_kind kind, const T& x) {
    std::string out;
    pack_follow(out, kind, x);
    return out;
  }
  void output(const std::string& pane, std::uint64_t offset, const std::string& data) {
    api->streams.back()->emit(frame(follow_kind::data, follow_data{{pane}, 1, offset, {data}}));
    settle();
  }
  void exit(const std::string& pane, std::int32_t code = 0, std::uint64_t size = 0) {
    api->streams.back()->emit(frame(follow_kind::exit, follow_exit{{pane}, 1, code, 0, size, {}}));
    settle();
  }
  strings phases() const {
    strings out;
    for (const auto& e : all<phase_changed>())
      out.push_back(std::string{to_string(e.to)});
    return out;
  }
  /// The end, as the journal and the SWARM have it: "failed auth@create".
  std::string ending() {
    advance(1s);
    auto closed = all<sandbox_closed>();
    if (closed.size() != 1 || up.endings.size() != 1) return "not ended once";
    CHECK(up.endings[0].result == closed[0].result);
    CHECK(up.endings[0].why.code == closed[0].why.code);
    // Nothing of the sandbox comes after its end, so every pane's end came before.
    CHECK(events().back() == "sandbox.closed");
    CHECK(count("pane.closed") == start.panes.size());
    const auto& why = closed[0].why;
    return std::string{to_string(closed[0].result)}
           + (why ? " " + std::string{to_string(why.code)} + "@" + why.step : "");
  }
};

const strings whole_life = {"creating", "verifying", "provisioning", "uploading",
                            "starting", "running",   "collecting"};

} // namespace

TEST_CASE_METHOD(sandbox_world, "a life goes through its phases in order and ends with its kill") {
  panes(2);
  begin();
  CHECK(phases() == strings(whole_life.begin(), whole_life.end() - 1));
  CHECK(api->boxes.at("i100000").lease == 1h + 300s);
  CHECK(api->boxes.at("i100000").info.metadata.at("skep.sandbox") == "sb_a");
  exit("pn_0");
  CHECK(phases().back() == "running");
  exit("pn_1");
  CHECK(ending() == "completed");
  CHECK(phases() == whole_life);
  CHECK(api->boxes.empty());
  CHECK(api->count(operation::create) == 1);
  CHECK(api->count(operation::kill) == 1);
  auto names = events();
  auto at = [&](const char* name) { return std::find(names.begin(), names.end(), name); };
  CHECK(at("sandbox.create_intended") < at("sandbox.created"));
  CHECK(at("sandbox.kill_intended") < at("sandbox.kill_confirmed"));
  CHECK(at("sandbox.kill_confirmed") < at("sandbox.closed"));
  CHECK(count("transfer.done") == 3); // one upload, a result of each pane
  CHECK(std::filesystem::exists(tmp.path / "out" / "sw_a" / "p1.patch"));
}

TEST_CASE_METHOD(sandbox_world, "output reaches the log masked before the exit counts") {
  begin();
  output("pn_0", 0, "say hunter2-");
  output("pn_0", 12, "secret!");
  output("pn_9", 0, "a pane of somebody else");
  exit("pn_0", 0, 19);
  CHECK(ending() == "completed");
  std::ifstream in{ctx->log_path({"pn_0"}, 1)};
  CHECK(std::string{std::istreambuf_iterator<char>{in}, {}} == "say **************!");
  CHECK_FALSE(std::filesystem::exists(ctx->log_path({"pn_9"}, 1)));
}

TEST_CASE_METHOD(sandbox_world, "a create that is refused fails at once and kills nothing") {
  api->fail(operation::create, make_error(errc::auth));
  begin();
  CHECK(ending() == "failed auth@create");
  CHECK(all<create_failed>().at(0).why.code == errc::auth);
  CHECK(api->count(operation::create) == 1);
  CHECK(api->count(operation::kill) == 0);
  CHECK(count("sandbox.kill_intended") == 0);
}

TEST_CASE_METHOD(sandbox_world, "a create without an answer is found by its label, not repeated") {
  api->fail(operation::create, make_error(errc::timed_out), fake_api::after_effect);
  begin();
  CHECK(api->count(operation::create) == 1);
  CHECK(all<sandbox_created>().at(0).remote_id == "i100000");
  CHECK(count("sandbox.create_failed") == 0);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "a create that no list shows is declared failed before another") {
  api->fail(operation::create, make_error(errc::network));
  api->fail(operation::list, make_error(errc::network)); // says nothing, does not count
  begin();
  advance(14s);
  CHECK(api->count(operation::create) == 1);
  CHECK(count("sandbox.create_failed") == 0);
  advance(2s);
  CHECK(api->count(operation::list) == 4);
  CHECK(api->count(operation::create) == 2);
  auto intents = all<create_intended>();
  REQUIRE(intents.size() == 2);
  CHECK(intents[0].intent != intents[1].intent);
  CHECK(all<create_failed>().at(0).intent == intents[0].intent);
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world, "creates that never arrive are given up after some") {
  for (int i = 0; i < 9; ++i)
    api->fail(operation::create, make_error(errc::network));
  begin();
  advance(3min);
  CHECK(api->count(operation::create) == svc->limits.step_attempts);
  CHECK(ending() == "failed network@create");
}

TEST_CASE_METHOD(sandbox_world, "a sandbox whose user is root is destroyed") {
  guest["/usr/bin/id"] = [](const sandbox::command&) -> result<command_result> {
    return said("0\n");
  };
  begin();
  CHECK(ending() == "failed no_isolation@verify");
  CHECK(api->boxes.empty());
  CHECK(api->count(operation::upload_file) == 0);
}

TEST_CASE_METHOD(sandbox_world, "a sandbox in which something else arrived is destroyed") {
  guest["unpack"] = [](const sandbox::command&) -> result<command_result> {
    return said("{\"files\":3,\"size_bytes\":300,\"manifest_sha256\":\"bad\"}\n");
  };
  begin();
  CHECK(ending() == "failed verification@verify");
  CHECK(all<transfer_failed>().at(0).why.code == errc::verification);
  CHECK(api->boxes.empty());
  CHECK(guest_calls("pane") == 0);
}

TEST_CASE_METHOD(sandbox_world, "a stop in any step before the agents destroys what was made") {
  auto [op, name] = GENERATE(table<operation, std::string>({{operation::create, "create"},
                                                            {operation::health, "verify"},
                                                            {operation::set_timeout, "lease"},
                                                            {operation::upload_file, "upload"}}));
  INFO(name);
  api->hold(op);
  begin();
  stop(stop_mode::graceful);
  CHECK(count("sandbox.closed") == 0); // the step's answer decides what there is to destroy
  api->release(op);
  settle();
  CHECK(ending() == "cancelled");
  CHECK(api->boxes.empty());
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(guest_calls("pane") == 0);
}

TEST_CASE_METHOD(sandbox_world, "a stop while agents run drains, collects, and then destroys") {
  panes(2);
  begin();
  stop(stop_mode::graceful);
  CHECK(phases().back() == "draining");
  CHECK(guest_calls("signal") == 2);
  exit("pn_0", 130);
  exit("pn_1", 130);
  CHECK(ending() == "cancelled");
  CHECK(guest_calls("diff") == 2);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "a kill while agents run collects nothing") {
  begin();
  stop(stop_mode::kill);
  CHECK(ending() == "killed");
  CHECK(guest_calls("diff") == 0);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "a run past its time limit is collected and says so") {
  begin();
  stop(stop_mode::timed_out);
  exit("pn_0", 130);
  CHECK(ending() == "timed_out timed_out@");
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(sandbox_world, "a sandbox to keep is left running, unless it failed") {
  spec->keep = true;
  begin();
  SECTION("done") {
    exit("pn_0");
    CHECK(ending() == "completed");
    CHECK(all<sandbox_closed>().at(0).kept);
    CHECK(api->boxes.size() == 1);
    CHECK(api->count(operation::kill) == 0);
  }
  SECTION("killed") {
    stop(stop_mode::kill);
    CHECK(ending() == "killed");
    CHECK_FALSE(all<sandbox_closed>().at(0).kept);
    CHECK(api->boxes.empty());
  }
}

TEST_CASE_METHOD(sandbox_world, "a kill without an answer is repeated, then left to the reaper") {
  std::size_t failures = GENERATE(2, 9);
  for (std::size_t i = 0; i < failures; ++i)
    api->fail(operation::kill, make_error(errc::network));
  begin();
  exit("pn_0");
  advance(20s);
  CHECK(ending() == "completed");
  if (failures == 2) {
    CHECK(api->count(operation::kill) == 3);
    CHECK(count("sandbox.kill_confirmed") == 1);
  } else {
    CHECK(api->count(operation::kill) == svc->limits.kill_attempts);
    CHECK(count("sandbox.kill_confirmed") == 0);
    CHECK(count("sandbox.kill_intended") == 1);
  }
}

TEST_CASE_METHOD(sandbox_world, "a sandbox that vanishes is lost once its output gave up") {
  begin();
  api->lose("i100000");
  advance(30s);
  CHECK(ending() == "lost not_found@adopt");
  CHECK(count("sandbox.poll_failed") == svc->limits.poll_failures);
  CHECK(count("sandbox.kill_intended") == 0);
}

TEST_CASE_METHOD(sandbox_world, "a stream that breaks goes on where the log ends") {
  begin();
  output("pn_0", 0, "hello ");
  api->streams.back()->fail(make_error(errc::network));
  advance(1s);
  REQUIRE(api->streams.size() == 2);
  const auto& argv = api->streams.back()->what.argv;
  CHECK(argv.back() == "pn_0:1:6");
  api->streams.back()->end(0); // its time is over
  settle();
  REQUIRE(api->streams.size() == 3);
  output("pn_0", 0, "hello world"); // the same bytes and more
  exit("pn_0", 0, 11);
  CHECK(ending() == "completed");
  CHECK(std::filesystem::file_size(ctx->log_path({"pn_0"}, 1)) == 11);
}

TEST_CASE_METHOD(sandbox_world, "a failed pane degrades the sandbox and decides its verdict") {
  panes(2);
  begin();
  exit("pn_0", 1);
  advance(1s); // nobody waits for this one
  CHECK(all<sandbox_degraded>().at(0).panes == std::vector<pane_id>{{"pn_0"}});
  exit("pn_1");
  CHECK(ending() == "failed agent_failed@agent");
}

TEST_CASE_METHOD(sandbox_world, "a running sandbox is taken up by GET, without a create") {
  recorded(phase::running);
  start.panes[0].state = pane_phase::running;
  start.panes[0].attempt = 1;
  begin();
  CHECK(api->count(operation::create) == 0);
  CHECK(api->count(operation::get) == 1);
  CHECK(api->streams.at(0)->what.argv.back() == "pn_0:1:0");
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "a sandbox that is gone when the daemon comes back is lost") {
  recorded(phase::running);
  api->boxes.clear();
  begin();
  CHECK(ending() == "lost not_found@adopt");
  CHECK(api->count(operation::kill) == 0);
}

TEST_CASE_METHOD(sandbox_world,
                 "an intended kill is carried out after a restart, and nothing else") {
  recorded(phase::collecting);
  start.record.kill_intended = true;
  start.panes[0].state = pane_phase::closed;
  start.panes[0].result = outcome::completed;
  begin();
  advance(1s);
  CHECK(api->boxes.empty());
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(guest_calls("diff") == 0);
}

TEST_CASE_METHOD(sandbox_world,
                 "an unresolved create of the last daemon is looked for, not repeated") {
  start.fresh = false;
  start.record.state = phase::creating;
  start.record.intent = "int1";
  start.record.unresolved = true;
  auto& info = api->boxes["i7"].info;
  info.remote_id = "i7";
  info.address = {"i7", "token", ""};
  info.metadata = {{"skep.install", "in_1"}, {"skep.intent", "int1"}};
  begin();
  CHECK(api->count(operation::create) == 0);
  CHECK(all<sandbox_created>().at(0).remote_id == "i7");
  exit("pn_0");
  CHECK(ending() == "completed");
}
