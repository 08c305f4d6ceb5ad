// Scripts of the SANDBOX: its life, its stops, its end. Others: create.test.cpp,
// sandbox_steps.test.cpp, transfer.test.cpp, pollers.test.cpp, readopt.test.cpp.
#include "tests/actors/sandbox_world.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE_METHOD(sandbox_world, "a life goes through its phases in order and ends with its kill") {
  panes(2);
  begin();
  CHECK(phases() == strings(whole_life.begin(), whole_life.end() - 1));
  CHECK(api->boxes.at("i100000").lease == 1h + 300s);
  CHECK(api->boxes.at("i100000").info.metadata.at("skep.sandbox") == "sb_a");
  exit("pn_0");
  CHECK(phases().back() == "running");
  CHECK(v.deadlines() == 0); // of all that was asked for until now
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

// Whatever the user named: nothing of it is a path inside (decision 0048).
TEST_CASE_METHOD(sandbox_world,
                 "every path that is sent to a sandbox is absolute and of plain "
                 "characters alone",
                 "[owasp-a03]") {
  const std::string odd = "; touch x & | `y` $(z) '\"\n../..//";
  spec->name = odd;
  spec->argv = {"./" + odd, odd};
  spec->env = {{"ODD", odd}};
  panes(2);
  for (auto& p : start.panes)
    p.branch = "skep/" + p.name;
  begin();
  exit("pn_0");
  exit("pn_1");
  CHECK(ending() == "completed");
  std::size_t seen = 0;
  for (const auto& call : api->calls) {
    if (call.op != operation::upload_file && call.op != operation::download_file) continue;
    ++seen;
    const auto& path = call.what;
    INFO(path);
    CHECK(path.starts_with('/'));
    CHECK(path.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "/_.-")
          == std::string::npos);
    for (const auto* part : {"//", "/../", "/./"})
      CHECK((path + "/").find(part) == std::string::npos);
  }
  CHECK(seen >= 4); // skep-guest, the tree, results of both panes
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

TEST_CASE_METHOD(sandbox_world, "a sandbox whose isolation is not proven is destroyed") {
  auto ours = this_place();
  auto [what, user, mark, where] = GENERATE_REF(table<std::string, std::string, std::string, place>(
      {{"the user is root", "0", "", {"b", "f", "p"}},
       {"another sandbox answers", "1000", "mark-of-another", {"b", "f", "p"}},
       {"it has the files of this machine", "1000", "", {ours.boot, ours.files, "p"}},
       {"it has the processes of this machine", "1000", "", {ours.boot, "f", ours.processes}},
       {"it does not say where it is", "1000", "", {"", "f", "p"}}}));
  INFO(what);
  guest["/bin/sh"] = [&](const sandbox::command&) -> result<command_result> {
    return said(inside(mark.empty() ? mark_of(api->boxes.begin()->first) : mark, user, where));
  };
  begin();
  CHECK(ending() == "failed no_isolation@verify");
  CHECK(api->boxes.empty());
  CHECK(api->count(operation::upload_file) == 0);
}

TEST_CASE_METHOD(sandbox_world,
                 "a sandbox whose network is not what was ordered is destroyed before the upload") {
  auto [what, policy, open, answer] =
      GENERATE_REF(table<std::string, network_policy, std::string, int>(
          {{"none does not hold", network_policy::none, "1.1.1.1@443", 0},
           {"an allow-list does not hold", network_policy::allowlist, "2620:fe::fe@443", 0},
           {"metadata can be read", network_policy::open, "100.100.100.200@80/latest/meta-data/",
            200}}));
  INFO(what);
  spec->network = policy;
  if (policy == network_policy::allowlist) spec->allow_hosts = {"a.example.com"};
  guest["reach"] = [open = open, answer = answer](const sandbox::command& c) {
    return said(reached_from_inside(c, {{open, answer}}) + "\n");
  };
  begin();
  CHECK(ending() == "failed no_isolation@verify");
  CHECK(all<sandbox_closed>().at(0).why.message.find(open) != std::string::npos);
  CHECK(api->boxes.empty());
  CHECK(api->count(operation::upload_file) == 0); // skep-guest is there, nothing of the user
  CHECK(guest_calls("unpack") == 0);
}

TEST_CASE_METHOD(sandbox_world,
                 "a sandbox that cannot say what its network lets through is destroyed") {
  svc->limits.create_at[spec->provider].network =
      GENERATE(network_check::require, network_check::warn);
  auto [what, how, ends] = GENERATE_REF(table<std::string, command_result, std::string>(
      {{"the look fails", said("{\"error\":\"io\",\"message\":\"no socket\"}\n", 1),
        "failed remote_command_failed@verify"},
       {"its answer makes no sense", said("reached\n"), "failed protocol@verify"},
       {"it leaves out what was asked", said("{\"targets\":[]}\n"),
        "failed no_isolation@verify"}}));
  INFO(what);
  guest["reach"] = [how = how](const sandbox::command&) -> result<command_result> { return how; };
  begin();
  CHECK(ending() == ends);
  CHECK(api->boxes.empty());
  CHECK(guest_calls("unpack") == 0);
}

TEST_CASE_METHOD(sandbox_world,
                 "a provider whose network_check is warn keeps a sandbox that fails the look, and "
                 "says so before the upload") {
  spec->network = network_policy::none;
  svc->limits.create_at[spec->provider].network = network_check::warn;
  guest["reach"] = [](const sandbox::command& c) -> result<command_result> {
    return said(reached_from_inside(c, {{"1.1.1.1@443", 0}}) + "\n");
  };
  begin();
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(phases() == whole_life);
  std::vector<notice> told;
  auto notices = all<notice>();
  for (const auto& n : notices)
    if (n.code == "network_not_held") told.push_back(n);
  REQUIRE(told.size() == 1);
  CHECK(told[0].level == severity::warning);
  CHECK(told[0].text
        == "sb_a: its network fails the look under the policy 'none', and the run goes on because "
           "providers."
               + spec->provider
               + ".network_check is \"warn\"; what answers inside: 1.1.1.1@443 (Cloudflare's "
                 "resolver)");
  auto names = events();
  CHECK(std::find(names.begin(), names.end(), "network_not_held")
        < std::find(names.begin(), names.end(), "transfer.intended"));
}

TEST_CASE_METHOD(sandbox_world, "the network_check of one provider does not count at another") {
  spec->network = network_policy::none;
  svc->limits.create_at["another"].network = network_check::warn;
  guest["reach"] = [](const sandbox::command& c) -> result<command_result> {
    return said(reached_from_inside(c, {{"1.1.1.1@443", 0}}) + "\n");
  };
  begin();
  CHECK(ending() == "failed no_isolation@verify");
  CHECK(api->boxes.empty());
  CHECK(guest_calls("unpack") == 0);
}

TEST_CASE_METHOD(sandbox_world, "each sandbox's network is looked at once, before the upload") {
  spec->network = network_policy::open;
  guest["reach"] = [](const sandbox::command& c) -> result<command_result> {
    CHECK(std::count(c.argv.begin(), c.argv.end(), "--tls") == 0);
    CHECK(std::count(c.argv.begin(), c.argv.end(), "--http") == 5);
    return said(reached_from_inside(c, {{"169.254.169.254@80/latest/meta-data/", 401}}) + "\n");
  };
  begin();
  exit("pn_0");
  CHECK(ending() == "completed");
  CHECK(guest_calls("reach") == 1);
  auto first = [this](const std::string& word) {
    return std::find_if(api->calls.begin(), api->calls.end(), [&](const fake_api::record& c) {
      return c.op == operation::run && c.what.starts_with(ctx->guest_path() + " " + word);
    });
  };
  CHECK(first("reach") < first("unpack"));
}

TEST_CASE_METHOD(sandbox_world, "a sandbox on this kernel with namespaces of its own is isolated") {
  guest["/bin/sh"] = [&](const sandbox::command&) -> result<command_result> {
    auto mark = mark_of(api->boxes.begin()->first);
    return said(inside(mark, "1000", {this_place().boot, "mnt:[1]", "pid:[2]"}));
  };
  begin();
  exit("pn_0");
  CHECK(ending() == "completed");
}

TEST_CASE_METHOD(sandbox_world,
                 "the mark of a create is its intent, in the environment of all inside") {
  begin();
  REQUIRE(api->boxes.size() == 1);
  const auto& made = api->boxes.begin()->second.params;
  CHECK(made.env.at(std::string{mark_variable}) == all<create_intended>().at(0).intent);
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

TEST_CASE_METHOD(
    sandbox_world,
    "a stop in a step before the agents destroys what was made, also when the step hangs") {
  auto [op, name] = GENERATE(table<operation, std::string>({{operation::create, "create"},
                                                            {operation::health, "verify"},
                                                            {operation::set_timeout, "lease"}}));
  INFO(name);
  api->hold(op);
  begin();
  stop(stop_mode::graceful);
  // A create's answer decides what there is to destroy; the others need not be waited for.
  CHECK(count("sandbox.closed") == (op == operation::create ? 0 : 1));
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

TEST_CASE_METHOD(sandbox_world, "a run past its time limit is collected and says so",
                 "[owasp-a04]") {
  begin();
  stop(stop_mode::timed_out);
  exit("pn_0", 130);
  CHECK(ending() == "timed_out timed_out@");
  CHECK(guest_calls("diff") == 1);
}

TEST_CASE_METHOD(sandbox_world,
                 "a result that cannot be read leaves a run past its time limit timed "
                 "out, with the error beside it") {
  guest["diff"] = [](const sandbox::command&) -> result<command_result> {
    return said("{\"error\":\"not_found\",\"message\":\"no commit in the tree\"}\n", 1);
  };
  begin();
  stop(stop_mode::timed_out);
  exit("pn_0", 130);
  CHECK(ending().starts_with("timed_out remote_command_failed@"));
  CHECK(count("transfer.failed") == 1);
}

TEST_CASE_METHOD(sandbox_world, "what failed before it was stopped has failed") {
  panes(2);
  begin();
  exit("pn_0", 1);
  exit("pn_1", 1);
  stop(stop_mode::graceful);
  CHECK(ending().starts_with("failed"));
}

TEST_CASE_METHOD(sandbox_world, "what partial results are not wanted of is ended at once, with the "
                                "outcome it has anyway") {
  spec->no_partial = true;
  panes(3);
  begin();
  SECTION("out of time") {
    stop(stop_mode::timed_out);
    CHECK(ending() == "timed_out timed_out@");
    for (const auto& p : all<pane_closed>())
      CHECK(p.result == outcome::timed_out);
  }
  SECTION("out of money") {
    stop(stop_mode::budget);
    CHECK(ending() == "budget budget_spent@");
  }
  SECTION("failed") {
    exit("pn_0", 1);
    exit("pn_1", 1); // more than half of them
    CHECK(ending().starts_with("failed"));
  }
  CHECK(guest_calls("diff") == 0);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world,
                 "a sandbox is ready only once envd says it is healthy, and how long "
                 "each step took is told with that") {
  api->hold(operation::health);
  begin();
  advance(7s);
  CHECK(phases() == strings{"creating", "verifying"});
  CHECK(api->count(operation::upload_file) == 0); // nothing is sent to it before
  api->release(operation::health);
  settle();
  REQUIRE(phases().back() == "running");
  auto ready = all<phase_changed>().back();
  strings steps;
  std::int64_t sum = 0;
  for (const auto& s : ready.steps) {
    steps.push_back(std::string{to_string(s.of)});
    sum += s.took_ms;
    CHECK((s.of == phase::verifying ? s.took_ms >= 7000 : s.took_ms < 7000));
  }
  CHECK(steps
        == strings{"queued", "creating", "verifying", "provisioning", "uploading", "starting"});
  CHECK(sum >= 7000);
  for (const auto& other : all<phase_changed>())
    CHECK((other.to == phase::running || other.steps.empty()));
  exit("pn_0");
  CHECK(ending() == "completed");
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
  SECTION("stopped by a person") {
    stop(stop_mode::graceful);
    exit("pn_0", 130);
    CHECK(ending() == "cancelled");
    CHECK(all<sandbox_closed>().at(0).kept);
    CHECK(api->boxes.size() == 1);
  }
  SECTION("past its time limit") {
    stop(stop_mode::timed_out);
    exit("pn_0", 130);
    CHECK(ending() == "timed_out timed_out@");
    CHECK(guest_calls("diff") == 1);
    CHECK_FALSE(all<sandbox_closed>().at(0).kept);
    CHECK(api->boxes.empty());
  }
  SECTION("stopped by a person, and then past its time limit") {
    stop(stop_mode::graceful);
    stop(stop_mode::timed_out);
    exit("pn_0", 130);
    CHECK(ending() == "cancelled");
    CHECK_FALSE(all<sandbox_closed>().at(0).kept);
    CHECK(api->boxes.empty());
  }
  SECTION("the daemon ends and ends everything") {
    stop(stop_mode::shutdown);
    exit("pn_0", 130);
    CHECK(ending() == "cancelled");
    CHECK(guest_calls("diff") == 1);
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
    CHECK(count("kill_unconfirmed") == 0);
  } else {
    CHECK(api->count(operation::kill) == svc->limits.kill_attempts);
    CHECK(count("sandbox.kill_confirmed") == 0);
    CHECK(count("sandbox.kill_intended") == 1);
  }
}

TEST_CASE_METHOD(sandbox_world, "a kill that is left to the reaper is told with its provider and "
                                "the provider's answer before the sandbox's end") {
  for (std::size_t i = 0; i < svc->limits.kill_attempts; ++i)
    api->fail(operation::kill, make_error(errc::auth, "its key has expired"));
  begin();
  exit("pn_0");
  advance(20s);
  CHECK(ending() == "completed"); // which comes last
  auto told = all<notice>();
  std::erase_if(told, [](const notice& n) { return n.code != "kill_unconfirmed"; });
  REQUIRE(told.size() == 1);
  CHECK(told[0].level == severity::warning);
  CHECK(told[0].text.starts_with("sb_a: local has not confirmed that " + api->boxes.begin()->first
                                 + " is gone; "));
  CHECK(told[0].text.find("its key has expired") != std::string::npos);
}

TEST_CASE_METHOD(
    sandbox_world,
    "a clean-up that fails, too, goes on, is told, and leaves the first error the first") {
  guest["unpack"] = [this](const sandbox::command&) -> result<command_result> {
    for (int i = 0; i < 3; ++i)
      api->fail(operation::kill, make_error(errc::network));
    api->fail(operation::remove, make_error(errc::timed_out));
    return said("{\"files\":3,\"size_bytes\":300,\"manifest_sha256\":\"bad\"}\n");
  };
  begin();
  advance(20s);
  CHECK(ending() == "failed verification@verify");
  CHECK(all<sandbox_closed>().at(0).why.code == errc::verification);
  CHECK(api->count(operation::kill) == 4);
  CHECK(count("sandbox.kill_confirmed") == 1);
  CHECK(api->boxes.empty());
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

TEST_CASE_METHOD(
    sandbox_world,
    "a log that cannot be written ends its sandbox, whatever arrives for other panes") {
  panes(2);
  std::filesystem::create_directories(ctx->log_path({"pn_0"}, 1)); // nothing can be written here
  begin();
  for (int i = 0; i < 5; ++i) {
    CHECK(count("output_incomplete") == 0);
    output("pn_1", 0, "it is written");
    output("pn_0", 0, "it is not");
    advance(6s);
  }
  CHECK(count("output_incomplete") == 1);
  advance(21s); // its agents are interrupted, and what they did is collected
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(all<sandbox_closed>().at(0).result == outcome::failed);
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(sandbox_world, "what a kill breaks in a step that is under way is no failure") {
  api->hold(operation::health);
  begin();
  stop(stop_mode::kill);
  api->fail(operation::health, make_error(errc::gone));
  api->release(operation::health);
  advance(20s);
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(all<sandbox_closed>().at(0).result == outcome::killed);
  CHECK(api->boxes.empty());
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

TEST_CASE_METHOD(sandbox_world, "what was being collected when the daemon died is collected by the "
                                "next one, whatever had ended the agents") {
  recorded(phase::collecting);
  start.panes[0].state = pane_phase::closed;
  start.panes[0].result = outcome::cancelled;
  api->hold(operation::list_processes); // what the former daemon began inside is looked for
  auto expected = outcome::cancelled;
  SECTION("a stop, told again meanwhile") {
    start.stop = stop_mode::graceful;
    begin();
    stop(stop_mode::graceful);
  }
  SECTION("the time limit") {
    expected = outcome::timed_out;
    start.panes[0].result = outcome::timed_out;
    start.stop = stop_mode::timed_out;
    spec->keep = true;
    begin();
  }
  SECTION("a failure") {
    expected = outcome::failed;
    start.record.error_code = "agent_failed";
    begin();
  }
  CHECK(count("sandbox.kill_intended") == 0);
  api->release(operation::list_processes);
  advance(2s);
  CHECK(guest_calls("diff") == 1);
  CHECK(count("transfer.done") == 1);
  REQUIRE(all<sandbox_closed>().size() == 1);
  CHECK(all<sandbox_closed>().at(0).result == expected);
  CHECK_FALSE(all<sandbox_closed>().at(0).kept);
  CHECK(api->boxes.empty());
}
