// Birth, lease and death of sandboxes, with real holders and real bubblewrap.
#include "tests/host/host_fixture.hpp"

#include <fstream>

using namespace skep;
using namespace skep::test;

namespace {

int holder_pid(const host_state& state, const sandbox& s) {
  auto c = raw_connection::to_unix(state.path() + "/holders/" + s.id + "/ctl.sock");
  c.send("{\"op\":\"watch\"}\n");
  return json::parse(c.take_through("\n")).at("info").at("pid").get<int>();
}

/// Files below `where` that hold `text`.
std::vector<std::string> files_with(const std::string& where, const std::string& text) {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& x : std::filesystem::recursive_directory_iterator(where, ec)) {
    if (!x.is_regular_file(ec)) continue;
    std::ifstream in{x.path(), std::ios::binary};
    std::string content{std::istreambuf_iterator<char>{in}, {}};
    if (content.find(text) != content.npos) out.push_back(x.path());
  }
  return out;
}

} // namespace

TEST_CASE("a sandbox is created, answers, is killed, and is gone everywhere") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"metadata", {{"who", "me"}}}});
  REQUIRE(s.ok());
  CHECK(host.envd(s, "GET", "/health").status == 204);
  auto detail = body_of(host.call("GET", "/sandboxes/" + s.id));
  CHECK(detail.value("state", "") == "running");
  CHECK(detail.value("envdAccessToken", "") == s.token);
  CHECK(detail["metadata"] == json{{"who", "me"}});
  for (const char* field : {"templateID", "clientID", "startedAt", "endAt", "envdVersion",
                            "cpuCount", "memoryMB", "diskSizeMB"})
    CHECK(detail.contains(field));

  auto handle = process_handle(holder_pid(state, s));
  CHECK(host.call("DELETE", "/sandboxes/" + s.id).status == 204);
  CHECK(ends_in_time(handle));
  CHECK(state.empty());
  auto gone = host.call("GET", "/sandboxes/" + s.id);
  CHECK(gone.status == 404);
  CHECK(body_of(gone).value("code", 0) == 404);
  CHECK(host.call("DELETE", "/sandboxes/" + s.id).status == 404);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":9})").status == 404);
  auto dead = host.envd(s, "GET", "/health");
  CHECK(dead.status == 502);
  CHECK(dead.body
        == R"({"sandboxId":")" + s.id + R"(","message":"The sandbox was not found","code":502})");
}

TEST_CASE("the lease ends a sandbox although its host was killed") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"timeout", 60}});
  REQUIRE(s.ok());
  auto handle = process_handle(holder_pid(state, s));
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":1})").status == 204);
  host.stop(SIGKILL);
  CHECK(ends_in_time(handle));
  CHECK(state.empty());
  host_process next{state};
  CHECK(next.call("GET", "/sandboxes/" + s.id).status == 404);
}

TEST_CASE("the token of a sandbox is its own, ends with its lease, and is kept nowhere") {
  host_state state;
  host_process host{state};
  auto s = host.create(), other = host.create();
  REQUIRE((s.ok() && other.ok()));
  CHECK(s.token != other.token);
  CHECK(s.token.size() == 64);
  auto files = [&host](const sandbox& where, const std::string& token) {
    return host.envd({where.id, token}, "GET", "/envs").status;
  };
  CHECK(files(s, s.token) == 200);
  CHECK(files(s, other.token) == 401);
  CHECK(files(s, "") == 401);

  // A pause is no end: whoever had the token resumes with it.
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/pause", "{}").status == 204);
  CHECK(files(s, s.token) == 502);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/connect", R"({"timeout":60})").status == 201);
  CHECK(files(s, s.token) == 200);

  auto handle = process_handle(holder_pid(state, s));
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":1})").status == 204);
  CHECK(ends_in_time(handle));
  CHECK(until([&] { return files(s, s.token) == 502; }));
  CHECK(files(other, s.token) == 401);
  CHECK(files(other, other.token) == 200);
  CHECK(until([&] { return files_with(state.path(), s.token).empty(); }));
}

TEST_CASE("a new host re-adopts the sandboxes of one that was killed") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"metadata", {{"k", "v"}}}, {"envVars", {{"COLOUR", "blue"}}}});
  REQUIRE(s.ok());
  auto before = body_of(host.call("GET", "/sandboxes/" + s.id));
  auto running = host.start(s, "echo $COLOUR > colour; exec sleep 1000");
  auto pid = running.pid();
  host.stop(SIGKILL);

  host_process next{state};
  CHECK(body_of(next.call("GET", "/sandboxes/" + s.id)) == before);
  CHECK(next.run(s, "cat colour; kill -0 " + std::to_string(pid) + " && echo alive")
        == "blue\nalive\n");
  CHECK(next.call("DELETE", "/sandboxes/" + s.id).status == 204);
}

TEST_CASE("a host that is asked to end leaves its sandboxes alone") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  auto pid = holder_pid(state, s);
  auto status = host.stop(SIGTERM);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(lives(pid));
  host_process next{state};
  CHECK(next.envd(s, "GET", "/health").status == 204);
}

TEST_CASE("when a holder is killed its sandbox ends and the host sweeps what it left") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  CHECK(host.run(s, "mkdir -p a/b; touch a/b/c; chmod 0 a; echo ok") == "ok\n");
  auto stream = host.start(s, "exec sleep 1000");
  stream.pid();
  ::kill(holder_pid(state, s), SIGKILL);
  // The command's stream breaks off without its last envelope.
  CHECK_THROWS(stream.finish());
  CHECK(until([&] { return host.call("GET", "/sandboxes/" + s.id).status == 404; }));
  CHECK(host.envd(s, "GET", "/health").status == 502);
  CHECK(until([&] { return host.call("GET", "/health").status == 204 && state.empty(); }));
}

TEST_CASE("a holder that takes no further connection is not taken for dead") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  auto handle = process_handle(holder_pid(state, s));
  auto account = "/skep/v1/sandboxes/" + s.id + "/usage";
  CHECK(host.call("GET", account).status == 200);
  {
    std::vector<raw_connection> all;
    for (int i = 0; i < 80; ++i)
      all.push_back(raw_connection::to_unix(state.path() + "/holders/" + s.id + "/ctl.sock"));
    CHECK(all.back().rest().empty()); // closed: it has as many as it takes
    CHECK(host.call("DELETE", "/sandboxes/" + s.id).status == 503);
    CHECK(host.call("GET", account).status == 503);
    CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":90})").status == 503);
    CHECK(body_of(host.call("GET", "/sandboxes/" + s.id)).value("state", "") == "running");
    CHECK(body_of(host.call("GET", "/v2/sandboxes")).size() == 1);
    CHECK(host.run(s, "echo alive") == "alive\n");
  }
  CHECK(until([&] { return host.call("DELETE", "/sandboxes/" + s.id).status == 204; }));
  CHECK(ends_in_time(handle));
  CHECK(state.empty());
}

TEST_CASE("files of a holder that died while no host ran are swept at the next start") {
  host_state state;
  {
    host_process host{state};
    auto s = host.create();
    REQUIRE(s.ok());
    auto pid = holder_pid(state, s);
    host.stop(SIGKILL);
    auto handle = process_handle(pid);
    ::kill(pid, SIGKILL);
    CHECK(ends_in_time(handle));
  }
  host_process next{state};
  CHECK(body_of(next.call("GET", "/v2/sandboxes")) == json::array());
  CHECK(until([&] { return state.empty(); }));
}

TEST_CASE("timeout sets the end, connect and refreshes only move it later") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"timeout", 100}});
  REQUIRE(s.ok());
  auto end = [&] {
    return body_of(host.call("GET", "/sandboxes/" + s.id)).value("endAt", std::string{});
  };
  auto first = end();
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/refreshes", R"({"duration":15})").status == 204);
  CHECK(end() == first);
  auto connected = host.call("POST", "/v2/sandboxes/" + s.id + "/connect", R"({"timeout":10})");
  CHECK(connected.status == 200);
  CHECK(body_of(connected).value("envdAccessToken", "") == s.token);
  CHECK(end() == first);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/connect", R"({"timeout":500})").status == 200);
  auto later = end();
  CHECK(later > first);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":50})").status == 204);
  CHECK(end() < first);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/connect", "{}").status == 400);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":"x"})").status == 400);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/timeout", R"({"timeout":0})").status == 204);
  CHECK(until([&] { return host.call("GET", "/sandboxes/" + s.id).status == 404; }));
}

TEST_CASE("a program inside that cannot start fails the create and leaves nothing") {
  host_state state;
  auto bad = state.dir() / "bad-envd";
  std::ofstream{bad} << "#!/usr/bin/bash\necho no such luck >&2\nexit 3\n";
  ::chmod(bad.c_str(), 0755);
  host_process host{state, {"--envd", bad}};
  auto a = host.call("POST", "/sandboxes", R"({"templateID":"base"})");
  CHECK(a.status == 500);
  CHECK(a.body.find("no such luck") != std::string::npos);
  CHECK(state.empty());
  CHECK(body_of(host.call("GET", "/v2/sandboxes")) == json::array());
}

TEST_CASE("a state directory whose path is longer than a socket name works") {
  host_state state{std::string(120, 'd')};
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  CHECK(host.envd(s, "GET", "/health").status == 204);
  CHECK(host.call("DELETE", "/sandboxes/" + s.id).status == 204);
}

TEST_CASE("a host without work ends by itself when told to") {
  host_state state;
  host_process host{state, {"--idle-exit", "1"}};
  auto handle = process_handle(host.pid());
  CHECK(ends_in_time(handle));
}
