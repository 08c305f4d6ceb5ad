// Commands that talk to a daemon, against the fake one.
#include "tests/cli/program.hpp"
#include "tests/cli/schemas.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::cli_test;

namespace {

std::string state_of(const cli_world& w, const std::string& swarm) {
  return w.skep({"status", swarm, "--json"}).document()["swarm"]["state"];
}

/// What the fake daemon was asked to run last.
swarm_spec asked_to_run(const cli_world& w) {
  std::ifstream in{w.state + "/fake-run", std::ios::binary};
  auto request = unpack<run_request>(std::string{std::istreambuf_iterator<char>{in}, {}});
  REQUIRE(request.ok());
  return request->spec;
}

/// True when the process takes Ctrl+C and its like as values, within 15 s. Who starts a program
/// blocks all signals for a moment: that is something else.
bool watches_signals(pid_t process) {
  auto blocks = [](unsigned long long mask, int s) { return (mask >> (s - 1) & 1) != 0; };
  const auto end = std::chrono::steady_clock::now() + 15s;
  while (std::chrono::steady_clock::now() < end) {
    std::ifstream status{"/proc/" + std::to_string(process) + "/status"};
    for (std::string line; std::getline(status, line);) {
      if (!line.starts_with("SigBlk:")) continue;
      auto mask = std::stoull(line.substr(7), nullptr, 16);
      if (blocks(mask, SIGINT) && !blocks(mask, SIGUSR1)) return true;
    }
    std::this_thread::yield();
  }
  return false;
}

} // namespace

TEST_CASE("a run that completes ends with 0, a summary and its results' place") {
  cli_world w;
  fake_daemon daemon{w};
  auto x = w.run({"--name", "completes", "--sandboxes", "2", "--panes", "2", "--", "true"});
  INFO(x.err);
  CHECK(x.code == 0);
  for (const auto* text : {"PANE", "p0", "p3", "completed", "$0.25", "skep-out/sw_"})
    CHECK(x.out.find(text) != std::string::npos);
  CHECK(x.err.find("p1 started") != std::string::npos);
  CHECK(x.out.find('\x1b') == std::string::npos); // no TTY, no colours
  CHECK(x.err.find('\x1b') == std::string::npos);
}

TEST_CASE("the exit code of a run is that of what went wrong") {
  cli_world w;
  fake_daemon daemon{w};
  auto failed = w.run({"--name", "fails", "--", "true"});
  CHECK(failed.code == info(errc::agent_failed).exit_code);
  // Once, though the swarm and the sandbox have it, too; with what the hint needs filled in.
  auto told = failed.out.find("  p0: agent_failed");
  REQUIRE(told != std::string::npos);
  CHECK(failed.out.find("agent_failed", told + 6) == failed.out.rfind("agent_failed"));
  CHECK(failed.out.find("exit code 3") == failed.out.rfind("exit code 3"));
  CHECK(failed.out.find("PANE`") == std::string::npos);
  auto logs = failed.out.find("`skep logs sw_", told);
  REQUIRE(logs != std::string::npos);
  CHECK(failed.out.substr(logs + 30).starts_with("/p0`")); // behind an id of 19 characters
  CHECK(w.run({"--name", "auth", "--", "true"}).code == info(errc::agent_auth).exit_code);
  auto refused = w.run({"--provider", "nowhere", "--json", "--", "true"});
  CHECK(refused.code == info(errc::unknown_provider).exit_code);
  CHECK(refused.document()["error"]["code"] == "unknown_provider");
  CHECK(refused.document()["error"]["message"].get<std::string>().starts_with(
      "nowhere (configured: local; another one is a section [providers.NAME] of "));
}

TEST_CASE("a run in JSON mode is lines: the run, its events in order, the summary") {
  cli_world w;
  fake_daemon daemon{w};
  auto x = w.run({"--json", "--name", "completes", "--", "true"});
  CHECK(x.code == 0);
  auto lines = x.lines();
  REQUIRE(lines.size() > 5);
  auto first = json::parse(lines.front());
  CHECK(first["run"]["swarm"].get<std::string>().starts_with("sw_"));
  std::uint64_t last = first["run"]["seq"].get<std::uint64_t>() - 1;
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    auto e = json::parse(lines[i]);
    CHECK(e["seq"] == ++last);
    CHECK(e["swarm"] == first["run"]["swarm"]);
  }
  CHECK(json::parse(lines[lines.size() - 2])["type"] == "swarm.closed");
  auto summary = json::parse(lines.back())["summary"];
  CHECK(summary["exit_code"] == 0);
  CHECK(summary["panes"].size() == 1);
}

TEST_CASE("prompts, files, limits and the environment travel in the spec") {
  cli_world w;
  fake_daemon daemon{w};
  auto x =
      w.run({"--limit", "1h30m", "--env", "A=b=c", "--env", "D=", "--restarts", "3", "--fail-above",
             "100", "--json", "--detach", "--", "sh", "-c", "echo --json -- $A"});
  REQUIRE(x.code == 0);
  auto spec = asked_to_run(w);
  CHECK(spec.repo == std::filesystem::canonical(w.repo).string());
  CHECK(spec.out_dir == spec.repo + "/skep-out");
  CHECK(spec.agent == agent_kind::command);
  CHECK(spec.argv == std::vector<std::string>{"sh", "-c", "echo --json -- $A"});
  CHECK(spec.env == std::map<std::string, std::string>{{"A", "b=c"}, {"D", ""}});
  CHECK(spec.limit_ms == 5'400'000);
  CHECK(spec.pane_restarts == 3);
  CHECK(spec.panes_out_percent == 100);
  CHECK(spec.prompts.empty());

  REQUIRE(w.run({"--prompt", "do {index}", "--detach", "--", "cat"}).code == 0);
  spec = asked_to_run(w);
  REQUIRE(spec.prompts.size() == 1);
  CHECK(prompt_for(spec, 0) == "do 0");
  CHECK(spec.limit_ms == 3'600'000);
  CHECK(spec.panes_out_percent == 0);

  const std::string first = "as it is: {index} {{count}} \t\xc3\xa4\r\n", second = "[a,b]\n\n";
  write_text(w.dir.path + "/first", first);
  write_text(w.dir.path + "/second", second);
  auto files = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"--panes", "2", "--detach", "--prompt-file", w.dir.path + "/first",
                               "--prompt-file", w.dir.path + "/second"});
    more.insert(more.end(), {"--", "cat"});
    REQUIRE(w.run(more).code == 0);
    return asked_to_run(w);
  };
  spec = files({});
  REQUIRE(spec.prompts.size() == 2);
  CHECK(prompt_for(spec, 0) == first);
  CHECK(prompt_for(spec, 1) == second);
  spec = files({"--prompt-template"});
  REQUIRE(spec.prompts.size() == 2);
  CHECK(prompt_for(spec, 0) == "as it is: 0 {count} \t\xc3\xa4\r\n");
  CHECK(prompt_for(spec, 1) == second);
}

TEST_CASE("a run of claude brings its prompt, and the folder of its program in front of PATH") {
  cli_world w;
  fake_daemon daemon{w};
  const auto tools = w.dir.path + "/tools", usual = std::string{"/usr/local/bin:/usr/bin:/bin"};
  std::filesystem::create_directories(tools);
  write_text(tools + "/claude", "#!/bin/sh\n");
  std::filesystem::permissions(tools + "/claude", std::filesystem::perms::owner_all);
  write_text(w.state + "/skep.toml", "[local]\nbind = [\"" + tools + "\"]\n");
  REQUIRE(w.skep({"secret", "set", "ANTHROPIC_API_KEY"}, "k").code == 0);
  auto words = w.argv({"run", "--repo", w.repo, "--agent", "claude", "--prompt", "do {index}",
                       "--env", "A=b", "--detach", "--json"});
  words.insert(words.begin(), {"/usr/bin/env", "PATH=" + tools + ":" + usual});
  auto x = run_to_end(words, w.home);
  INFO(x.out << x.err);
  REQUIRE(x.code == 0);
  auto spec = asked_to_run(w);
  CHECK(spec.agent == agent_kind::claude);
  CHECK(spec.argv.empty());
  REQUIRE(spec.prompts.size() == 1);
  CHECK(prompt_for(spec, 0) == "do 0");
  CHECK(spec.env == std::map<std::string, std::string>{{"A", "b"}, {"PATH", tools + ":" + usual}});
}

TEST_CASE("a run that is left before it was asked for tells so in one JSON document") {
  cli_world w;
  fake_daemon daemon{w};
  daemon.signal(SIGSTOP); // so that it is still being reached when the signal comes
  background run{w.argv({"run", "--repo", w.repo, "--json", "--", "true"}), w.home};
  REQUIRE(watches_signals(run.pid()));
  run.signal(SIGINT);
  daemon.signal(SIGCONT);
  CHECK(run.wait() == 130);
  auto told = json::parse(run.text(), nullptr, false);
  INFO(run.text());
  REQUIRE(told.is_object());
  CHECK(mismatch(all_schemas().at("error"), told) == "");
  CHECK(told["error"]["code"] == "cancelled");
  CHECK(told["error"]["exit_code"] == 130);
  CHECK(w.skep({"ps", "--all", "--json"}).document()["swarms"].empty());
}

TEST_CASE("the first Ctrl+C stops the swarm and keeps its results") {
  cli_world w;
  fake_daemon daemon{w};
  background run{w.argv({"run", "--repo", w.repo, "--name", "runs", "--", "true"}), w.home};
  REQUIRE(run.shows("p0 started"));
  run.signal(SIGINT);
  CHECK(run.shows("its results are kept"));
  CHECK(run.wait() == 130);
  CHECK(run.text().find("cancelled") != std::string::npos);
}

TEST_CASE("the second Ctrl+C only ends the wait for a swarm that is being stopped") {
  cli_world w;
  fake_daemon daemon{w};
  background run{w.argv({"run", "--repo", w.repo, "--name", "stubborn", "--", "true"}), w.home};
  REQUIRE(run.shows("p0 started"));
  run.signal(SIGINT);
  REQUIRE(run.shows("Ctrl+C again"));
  REQUIRE(run.shows("swarm stopping"));
  run.signal(SIGINT);
  CHECK(run.wait() == 130);
  auto list = w.skep({"ps", "--json"}).document();
  CHECK(list["swarms"].at(0)["state"] == "stopping");
  auto id = list["swarms"].at(0)["swarm"].get<std::string>();
  INFO(run.text());
  CHECK(run.text().find(id + " is being stopped; results will be in "
                        + std::filesystem::canonical(w.repo).string() + "/skep-out/" + id + ".\n")
        != std::string::npos);
  for (const auto* wrong : {"goes on without this terminal", "Still running"})
    CHECK(run.text().find(wrong) == std::string::npos);
}

TEST_CASE("a closed terminal leaves the swarm running") {
  cli_world w;
  fake_daemon daemon{w};
  background run{w.argv({"run", "--repo", w.repo, "--name", "runs", "--", "true"}), w.home};
  REQUIRE(run.shows("p0 started"));
  run.signal(SIGHUP);
  CHECK(run.wait() == 129);
  CHECK(w.skep({"ps", "--json"}).document()["swarms"].at(0)["state"] == "running");
}

TEST_CASE("ps and status show what runs, and find a swarm by id, beginning and name") {
  cli_world w;
  fake_daemon daemon{w};
  CHECK(w.skep({"ps"}).out.find("Nothing runs") != std::string::npos);
  auto closed = start(w, "completes");
  auto open = start(w, "runs", 2);
  auto text = w.skep({"ps"}).out;
  CHECK(text.find(open) != std::string::npos);
  CHECK(text.find(closed) == std::string::npos);
  CHECK(w.skep({"ps", "--all"}).out.find(closed) != std::string::npos);
  for (const auto& name : {open, open.substr(0, 10), std::string{"runs"}}) {
    auto s = w.skep({"status", name, "--json"});
    CHECK(s.document()["swarm"]["swarm"] == open);
    CHECK(s.document()["panes"].size() == 2);
  }
  CHECK(w.skep({"status", open}).out.find("p1") != std::string::npos);
  CHECK(w.skep({"status", "sw_nosuch"}).code == info(errc::no_such_swarm).exit_code);
}

TEST_CASE("a name means the swarm that has not ended, several of them are refused with their ids") {
  cli_world w;
  fake_daemon daemon{w};
  auto older = start(w, "runs");
  auto newer = start(w, "runs");
  auto named = [&] { return w.skep({"status", "runs", "--json"}).document()["swarm"]["swarm"]; };
  for (const auto* command : {"status", "stop", "kill", "panic"}) {
    INFO(command);
    auto refused = w.skep({command, "runs"});
    CHECK(refused.code == info(errc::bad_argument).exit_code);
    CHECK(refused.err.find(older) != std::string::npos);
    CHECK(refused.err.find(newer) != std::string::npos);
  }
  CHECK(state_of(w, older) == "running");
  CHECK(state_of(w, newer) == "running");
  REQUIRE(w.skep({"kill", newer}).code == 0); // the newest has ended, the other one still costs
  CHECK(named() == older);
  auto killed = w.skep({"kill", "runs", "--json"});
  CHECK(killed.document()["swarms"] == json::array({older}));
  CHECK(named() == newer);
}

TEST_CASE("logs show a pane as it is, a swarm with names, and follow to the end") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = start(w, "runs", 2);
  const std::string second = "\x1b]0;title\x07\x1b[31msecond line\x1b[0m\n";
  CHECK(w.skep({"logs", swarm + "/p1"}).out == "hello from p1\n" + second);
  CHECK(w.skep({"logs", swarm + "/p1", "--tail", "1"}).out == second);
  CHECK(w.skep({"logs", swarm + "/p1", "--from", "6", "--tail", "1"}).out == "from p1\n" + second);
  auto both = w.skep({"logs", swarm}).out;
  CHECK(both.find("p0 | hello from p0\n") != std::string::npos);
  CHECK(both.find("p1 | hello from p1\n") != std::string::npos);
  auto line = json::parse(w.skep({"logs", swarm + "/p0", "--json"}).lines().at(0));
  CHECK(line["offset"] == 0);
  CHECK(line["text"].get<std::string>().starts_with("hello from p0"));

  background follow{w.argv({"logs", "-f", swarm + "/p0"}), w.home};
  REQUIRE(follow.shows("second line"));
  CHECK(w.skep({"send", swarm + "/p0", "more", "words"}).code == 0);
  CHECK(follow.shows("got: more words\n"));
  CHECK(w.skep({"stop", swarm, "--wait"}).code == 0);
  CHECK(follow.wait() == 0);
  CHECK(w.skep({"logs", swarm + "/p7"}).code == info(errc::no_such_pane).exit_code);
}

TEST_CASE("following a swarm begins before its first pane, shows all that come, and ends with it") {
  cli_world w;
  fake_daemon daemon{w};
  auto started =
      w.run({"--name", "later", "--sandboxes", "2", "--panes", "1", "--detach", "--", "true"});
  REQUIRE(started.code == 0);
  auto swarm = started.lines().at(0);
  CHECK(w.skep({"logs", swarm}).code == info(errc::no_such_pane).exit_code); // the first look
  auto x = w.skep({"logs", "-f", swarm});
  INFO(x.out << x.err);
  CHECK(x.code == 0);
  CHECK(x.lines().size() == 4);
  for (const auto* text : {"p0 | hello from p0\n", "p1 | hello from p1\n"})
    CHECK(x.out.find(text) != std::string::npos);
  CHECK(state_of(w, swarm) == "closed");
}

TEST_CASE("a swarm with one pane is followed without names, a pane and its successor have theirs") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = start(w, "later");
  auto x = w.skep({"logs", "-f", swarm});
  CHECK(x.code == 0);
  CHECK(x.out == "hello from p0\n\x1b]0;title\x07\x1b[31msecond line\x1b[0m\n");
  auto both = w.skep({"logs", start(w, "replaced")});
  CHECK(both.out.find("p0 | hello from p0\n") != std::string::npos);
  CHECK(both.lines().size() == 4);
}

TEST_CASE("the tail of a log with long lines is as many whole lines as were asked for") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = start(w, "long");
  auto lines = w.skep({"logs", swarm + "/p0"}).lines();
  REQUIRE(lines.size() == 100);
  CHECK(lines.front().starts_with("line 200 "));
  CHECK(lines.back().starts_with("line 299 "));
  CHECK(w.skep({"logs", swarm + "/p0", "--tail", "1000"}).lines().size() == 302);
  CHECK(w.skep({"logs", swarm + "/p0", "--tail", "0"}).out.empty());
}

TEST_CASE("the name of a pane means the one that has not ended, and after the end the last one") {
  cli_world w;
  fake_daemon daemon{w};
  auto swarm = start(w, "replaced");
  auto panes = w.skep({"status", swarm, "--json"}).document()["panes"];
  REQUIRE(panes.size() == 2);
  REQUIRE(panes.at(0)["name"] == panes.at(1)["name"]);
  REQUIRE(panes.at(0)["state"] == "closed");
  auto shown = [&] {
    return json::parse(w.skep({"logs", swarm + "/p0", "--json"}).lines().at(0))["pane"];
  };
  CHECK(shown() == panes.at(1)["pane"]);
  CHECK(w.skep({"send", swarm + "/p0", "more", "words"}).code == 0);
  REQUIRE(w.skep({"stop", swarm, "--wait"}).code == 0);
  CHECK(shown() == panes.at(1)["pane"]);
}

TEST_CASE("events are the whole journal, from any sequence, and live") {
  cli_world w;
  fake_daemon daemon{w};
  auto one = start(w, "completes");
  auto two = start(w, "runs");
  auto all = w.skep({"events", "--from", "1", "--json"});
  CHECK(all.code == 0);
  std::uint64_t last = 0;
  for (const auto& l : all.lines())
    CHECK(json::parse(l)["seq"] == ++last);
  CHECK(last > 20);
  CHECK(w.skep({"events", "--json"}).out == all.out);
  auto tail = w.skep({"events", "--from", std::to_string(last), "--json"});
  CHECK(tail.lines().size() == 1);
  CHECK(w.skep({"events", "--from", std::to_string(last + 5), "--json"}).out.empty());
  for (const auto& l : w.skep({"events", "--swarm", two, "--json"}).lines())
    CHECK(json::parse(l)["swarm"] == two);
  CHECK(w.skep({"events", "--sandbox", "sb_x"}).code == info(errc::bad_argument).exit_code);

  background live{w.argv({"events", "-f", "--from", std::to_string(last), "--json"}), w.home};
  REQUIRE(live.shows("\"seq\":" + std::to_string(last)));
  CHECK(w.skep({"kill", two}).code == 0);
  CHECK(live.shows("\"result\":\"killed\""));
  live.signal(SIGINT);
  CHECK(live.wait() == 130);
}

TEST_CASE("send is refused where nothing reads") {
  cli_world w;
  fake_daemon daemon{w};
  auto closed = start(w, "completes");
  auto x = w.skep({"send", closed + "/p0", "hi", "--json"});
  CHECK(x.code == info(errc::wrong_phase).exit_code);
  auto open = start(w, "runs");
  CHECK(w.skep({"send", open + "/p0"}, "").code == info(errc::bad_argument).exit_code);
  auto sent = w.skep({"send", open + "/p0", "--json"}, "raw bytes");
  CHECK(sent.code == 0);
  CHECK(sent.document()["seq"].get<std::uint64_t>() > 0);
}

TEST_CASE("what stands behind -- is sent as it is, and nothing that was typed is lost") {
  cli_world w;
  fake_daemon daemon{w};
  auto pane = start(w, "runs") + "/p0";
  std::string log = "hello from p0\n\x1b]0;title\x07\x1b[31msecond line\x1b[0m\n";
  auto sent = [&](std::vector<std::string> words, const std::string& line) {
    words.insert(words.begin(), {"send", pane});
    auto x = w.skep(words, "from standard input\n");
    INFO(x.err);
    CHECK(x.code == 0);
    log += "got: " + line;
    CHECK(w.skep({"logs", pane}).out == log);
  };
  sent({"please", "run", "--", "the tests"}, "please run the tests\n");
  sent({"--", "-y"}, "-y\n");
  sent({"--", "", "after nothing"}, " after nothing\n");
  sent({"--", "run", "--json", "--", "[a,b]"}, "run --json -- [a,b]\n");
  sent({"--"}, "from standard input\n");
  auto refused = w.skep({"status", "run", "--", "x"});
  CHECK(refused.code == info(errc::bad_argument).exit_code);
  CHECK(refused.err.find("only `skep run` takes a command after --") != std::string::npos);
}

TEST_CASE("stop and kill say what they did") {
  cli_world w;
  fake_daemon daemon{w};
  auto one = start(w, "runs");
  auto two = start(w, "runs");
  CHECK(w.skep({"stop", one}).out.find(one + " is stopping") != std::string::npos);
  CHECK(state_of(w, one) == "closed");
  auto x = w.skep({"kill", "--all", "--json"});
  CHECK(x.document()["swarms"] == json::array({two}));
  CHECK(w.skep({"stop", "--all"}).out == "Nothing runs.\n");
}

TEST_CASE("a daemon that dies while it is followed is told") {
  cli_world w;
  auto daemon = std::make_unique<fake_daemon>(w);
  auto swarm = start(w, "runs");
  // Of one pane: whoever follows a whole swarm has the next daemon started.
  background follow{w.argv({"logs", "-f", swarm + "/p0"}), w.home};
  REQUIRE(follow.shows("hello from p0"));
  background events{w.argv({"events", "-f", "--from", "1"}), w.home};
  REQUIRE(events.shows("pane.started"));
  daemon->kill();
  CHECK(events.shows("skepd is away"));
  events.signal(SIGINT);
  CHECK(events.wait() == 130);
}
