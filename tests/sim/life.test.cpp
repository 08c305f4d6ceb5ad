// A simulated sandbox as any client of E2B's protocol sees it.
#include "tests/sim/sim_fixture.hpp"

using namespace skep;
using namespace skep::test;

TEST_CASE(
    "a simulated sandbox is created, listed, runs commands, is killed and stands in the record") {
  simulator sim;
  CHECK(sim->announced().value("driver", "") == "sim");
  auto s =
      sim->create({{"metadata", {{"skep.intent", "in_1"}}}, {"envVars", {{"GREETING", "hi"}}}});
  REQUIRE(s.ok());
  CHECK(sim.listed() == std::vector<std::string>{s.id});
  CHECK(sim->envd(s, "GET", "/health").status == 204);
  CHECK(sim->call("POST", "/process.Process/List", "{}",
                  {{"E2b-Sandbox-Id", s.id},
                   {"E2b-Sandbox-Port", "49983"},
                   {"Content-Type", "application/json"}})
            .status
        == 401);

  CHECK(sim->run(s, "echo one two; pwd") == "one two\n/home/user\n");
  CHECK(sim->run(s, "echo $GREETING \"$USER\" '$HOME'") == "hi user $HOME\n");
  CHECK(sim->run(s, "printf 'a\\nb\\n' | tee copy | cat; cat copy") == "a\nb\na\nb\n");
  CHECK(sim->run(s, "false || echo failed && echo on; true || echo never") == "failed\non\n");
  CHECK(sim->run(s, "env").find("E2B_SANDBOX_ID=" + s.id + "\n") != std::string::npos);
  CHECK(sim->run(s, "mkdir d; cd d; echo x > f; cat f; cat < f; cd ..; ls d") == "x\nx\nf\n");
  auto seven = sim->start(s, "echo out; cat /nothing; exit 7");
  seven.finish();
  CHECK(seven.out == "out\n");
  CHECK(seven.err == "cat: /nothing: No such file or directory\n");
  CHECK(seven.end.value("exitCode", 0) == 7);
  CHECK(seven.end_of_stream == "{}");
  auto unknown = sim->start(s, "python3 -c 1");
  unknown.finish();
  CHECK(unknown.end.value("exitCode", 0) == 127);

  CHECK(sim->call("DELETE", "/sandboxes/" + s.id).status == 204);
  auto gone = sim->call("DELETE", "/sandboxes/" + s.id);
  CHECK(gone.status == 404);
  CHECK(body_of(gone).value("code", 0) == 404);
  CHECK(sim->envd(s, "GET", "/health").status == 502);
  auto creates = sim.record("create");
  REQUIRE(creates.size() == 1);
  CHECK(creates[0].at("sandbox") == s.id);
  CHECK(creates[0].at("metadata").at("skep.intent") == "in_1");
  CHECK(creates[0].at("foreign") == false);
  auto kills = sim.record("kill");
  REQUIRE(kills.size() == 1);
  CHECK(kills[0].at("why") == "request");
  CHECK(kills[0].at("metadata").at("skep.intent") == "in_1");
}

TEST_CASE("in a simulated sandbox, too, a start that comes after its KILL starts nothing") {
  simulator sim;
  auto s = sim->create();
  auto guest = [&](const std::string& arguments) {
    return json::parse(sim->run(s, "./skep-guest " + arguments), nullptr, false);
  };
  const std::string dir = " --dir /home/user/panes/pn_a/1 ";
  CHECK(sim->run(s, "printf x > skep-guest; chmod 0755 skep-guest").empty());
  CHECK(guest("signal" + dir + "--signal TERM").value("error", "") == "file_not_found");
  CHECK(guest("signal" + dir + "--signal KILL").value("state", "") == "exited");
  auto late = guest("pane" + dir + "--cwd /home/user --epoch 1 -- sim-agent");
  CHECK(late.value("state", "") == "exited");
  CHECK(late.value("signal", 0) == SIGKILL);
}

TEST_CASE("a signal ends a simulated program, a killed sandbox ends its streams without an end") {
  simulator sim;
  auto s = sim->create();
  auto sleeper = sim->start(s, "echo ready; sleep 600; echo never");
  auto pid = sleeper.pid();
  CHECK(sleeper.event().at("data").contains("stdout"));
  auto listed = body_of(sim->call("POST", "/process.Process/List", "{}", [&] {
    auto h = simulator::to(s);
    h["Content-Type"] = "application/json";
    return h;
  }()));
  CHECK(listed.at("processes").at(0).at("pid") == pid);
  CHECK(sim->run(s, "kill -9 " + std::to_string(pid)).empty());
  sleeper.finish();
  CHECK(sleeper.out.empty());
  CHECK(sleeper.end.value("status", "") == "signal: killed");

  auto other = sim->start(s, "sleep 600");
  other.pid();
  CHECK(sim->call("DELETE", "/sandboxes/" + s.id).status == 204);
  CHECK_THROWS(other.finish());
}

TEST_CASE("files of a simulated sandbox are written, read in ranges, listed, moved and removed") {
  simulator sim;
  auto s = sim->create();
  auto headers = simulator::to(s);
  headers["Content-Type"] = "application/octet-stream";
  auto put = sim->call("POST", "/files?path=/home/user/d/a.txt", "0123456789", headers);
  REQUIRE(put.status == 200);
  CHECK(body_of(put).at(0).at("path") == "/home/user/d/a.txt");
  headers["Content-Type"] = "multipart/form-data; boundary=X";
  auto form = sim->call("POST", "/files",
                        "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d/b.txt\""
                        "\r\n\r\nbee\r\n--X--\r\n",
                        headers);
  REQUIRE(form.status == 200);
  CHECK(body_of(form).at(0).at("path") == "/home/user/d/b.txt");
  auto get = simulator::to(s);
  CHECK(sim->call("GET", "/files?path=d/b.txt", {}, get).body == "bee");
  get["Range"] = "bytes=2-4";
  auto part = sim->call("GET", "/files?path=d/a.txt", {}, get);
  CHECK(part.status == 206);
  CHECK(part.body == "234");
  CHECK(part.headers["content-range"] == "bytes 2-4/10");
  get["Range"] = "bytes=10-";
  CHECK(sim->call("GET", "/files?path=d/a.txt", {}, get).status == 416);
  CHECK(sim->envd(s, "GET", "/files?path=/nothing").status == 404);
  CHECK(sim->envd(s, "GET", "/files?path=/home").status == 400);

  auto rpc = [&](const std::string& method, const json& request) {
    auto h = simulator::to(s);
    h["Content-Type"] = "application/json";
    return sim->call("POST", "/filesystem.Filesystem/" + method, request.dump(), h);
  };
  auto entries = body_of(rpc("ListDir", {{"path", "d"}})).at("entries");
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].at("name") == "a.txt");
  CHECK(entries[0].at("size") == "10");
  CHECK(rpc("Move", {{"source", "d/a.txt"}, {"destination", "/tmp/moved"}}).status == 200);
  CHECK(body_of(rpc("Stat", {{"path", "d/a.txt"}})).at("code") == "not_found");
  CHECK(body_of(rpc("Stat", {{"path", "/tmp/moved"}})).at("entry").at("type") == "FILE_TYPE_FILE");
  CHECK(body_of(rpc("MakeDir", {{"path", "d"}})).at("code") == "already_exists");
  CHECK(rpc("Remove", {{"path", "d"}}).body == "{}");
  CHECK(rpc("Remove", {{"path", "d"}}).body == "{}");
  CHECK(sim->run(s, "ls").empty());
}

TEST_CASE("one connection carries control calls and envd calls of several simulated sandboxes") {
  simulator sim;
  auto a = sim->create(), b = sim->create();
  auto c = sim->connect();
  auto ask = [&](const std::string& method, const std::string& target, const std::string& body,
                 const string_map& headers) {
    c.send(host_process::text(method, target, body, headers));
    return c.read_answer();
  };
  for (const auto& s : {a, b, a}) {
    auto h = simulator::to(s);
    CHECK(ask("GET", "/files?path=/etc/hostname", {}, h).body == s.id + "\n");
    h["Content-Type"] = "application/octet-stream";
    CHECK(ask("POST", "/files?path=/tmp/x", s.id, h).status == 200);
    CHECK(ask("GET", "/sandboxes/" + s.id, {}, {}).status == 200);
  }
  CHECK(ask("GET", "/files?path=/tmp/x", {}, simulator::to(b)).body == b.id);
}

TEST_CASE("leases end simulated sandboxes and the record says so") {
  simulator sim;
  auto s = sim->create({{"timeout", 3600}});
  auto kept = sim->create({{"timeout", 3600}});
  CHECK(sim->call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":1})").status == 204);
  CHECK(until([&] { return sim->call("GET", "/sandboxes/" + s.id).status == 404; }));
  auto kills = sim.record("kill");
  REQUIRE(kills.size() == 1);
  CHECK(kills[0].at("sandbox") == s.id);
  CHECK(kills[0].at("why") == "lease");
  CHECK(sim->call("GET", "/sandboxes/" + kept.id).status == 200);
}

TEST_CASE("a paused simulated sandbox says nothing, keeps no lease and goes on after its resume") {
  simulator sim;
  auto s = sim->create({{"timeout", 3600}});
  auto stream = sim->start(s, "echo one; sleep 0.2; echo two");
  stream.pid();
  CHECK(stream.event().contains("data"));
  CHECK(sim->call("POST", "/sandboxes/" + s.id + "/pause", "{}").status == 204);
  CHECK(sim->call("POST", "/sandboxes/" + s.id + "/pause", "{}").status == 409);
  CHECK(body_of(sim->call("GET", "/sandboxes/" + s.id)).value("state", "") == "paused");
  CHECK(sim->envd(s, "GET", "/health").status == 502);
  pollfd p{stream.connection().fd(), POLLIN, 0};
  CHECK(::poll(&p, 1, 400) == 0);
  auto back = sim->call("POST", "/v2/sandboxes/" + s.id + "/connect", R"({"timeout":60})");
  CHECK(back.status == 201);
  stream.finish();
  CHECK(stream.out == "two\n");
  CHECK(sim.record("pause").size() == 1);
  CHECK(sim.record("resume").size() == 1);
}
