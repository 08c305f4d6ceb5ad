// The wire format of the control API and of the proxy.
#include "tests/host/host_fixture.hpp"

#include <fstream>

using namespace skep;
using namespace skep::test;

TEST_CASE("with a key file every control request needs one of its keys") {
  host_state state;
  auto keys = state.dir() / "keys";
  std::ofstream{keys} << "# test\ne2b_00aa\ne2b_00bb\n";
  ::chmod(keys.c_str(), 0600);
  host_process host{state, {"--key-file", keys}, false};
  REQUIRE(host.serving());
  auto none = host.call("GET", "/v2/sandboxes");
  CHECK(none.status == 401);
  CHECK(body_of(none).value("code", 0) == 401);
  CHECK(host.call("GET", "/v2/sandboxes", {}, {{"X-API-KEY", "e2b_00a"}}).status == 401);
  CHECK(host.call("GET", "/v2/sandboxes", {}, {{"x-api-key", "e2b_00bb"}}).status == 200);
  CHECK(host.call("POST", "/sandboxes", "{}", {{"X-API-Key", "wrong"}}).status == 401);
  CHECK(host.call("GET", "/health").status == 204);
}

TEST_CASE("a host needs a key file or the word that none is wanted, and then only loopback",
          "[owasp-a05]") {
  host_state state;
  host_process neither{state, {}, false};
  CHECK_FALSE(neither.serving());
  CHECK(WEXITSTATUS(neither.await_exit()) == 64);
  host_process open{state, {"--listen", "0.0.0.0:0"}};
  CHECK_FALSE(open.serving());
  auto empty = state.dir() / "keys";
  std::ofstream{empty} << "# nothing\n";
  host_process no_key{state, {"--key-file", empty}, false};
  CHECK_FALSE(no_key.serving());
}

TEST_CASE("without keys the requests of web pages are refused") {
  host_state state;
  host_process host{state};
  CHECK(host.call("GET", "/v2/sandboxes", {}, {{"Origin", "https://evil.example"}}).status == 403);
  auto c = host.connect();
  c.send("GET /v2/sandboxes HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  CHECK(c.read_answer().status == 403);
  auto rebound = host.connect();
  rebound.send("GET /v2/sandboxes HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n");
  CHECK(rebound.read_answer().status == 403);
}

TEST_CASE("the ready file and the first line say where the host serves") {
  host_state state;
  auto file = state.dir() / "ready.json";
  host_process host{state, {"--ready-file", file, "--tag", "of \"mine\""}};
  REQUIRE(host.serving());
  std::ifstream in{file};
  auto j = json::parse(in);
  CHECK(j == host.announced());
  CHECK(j.at("pid") == host.pid());
  CHECK(j.contains("version"));
  auto info = body_of(host.call("GET", "/skep/v1/info"));
  CHECK(info.value("isolation", "") == "bubblewrap");
  CHECK(j.value("tag", "") == "of \"mine\"");
  CHECK(info.value("tag", "") == "of \"mine\"");
  CHECK(info.value("sandboxes", -1) == 0);
  host_process second{state};
  CHECK_FALSE(second.serving());
}

TEST_CASE("lists are filtered by metadata and come in pages") {
  host_state state;
  host_process host{state};
  std::vector<std::string> made;
  for (int i = 0; i < 3; ++i) {
    auto s = host.create({{"metadata", {{"k y", "a&b=c d"}, {"n", std::to_string(i)}}}});
    REQUIRE(s.ok());
    made.push_back(s.id);
  }
  // As the JS SDK 2.51 sends it.
  const std::string filter = "metadata=k%252520y%3Da%252526b%25253Dc%252520d";
  auto first = host.call("GET", "/v2/sandboxes?" + filter + "&state=running,paused&limit=2");
  REQUIRE(first.status == 200);
  auto page = body_of(first);
  REQUIRE(page.size() == 2);
  CHECK(page[0]["sandboxID"] == made[2]); // newest first
  CHECK(page[1]["sandboxID"] == made[1]);
  CHECK(first.headers["x-total-running"] == "3");
  REQUIRE(first.has("x-next-token"));
  auto second = host.call("GET", "/v2/sandboxes?" + filter
                                     + "&limit=2&nextToken=" + first.headers["x-next-token"]);
  page = body_of(second);
  REQUIRE(page.size() == 1);
  CHECK(page[0]["sandboxID"] == made[0]);
  CHECK_FALSE(second.has("x-next-token"));

  CHECK(body_of(host.call("GET", "/v2/sandboxes?metadata=n%3D1")).size() == 1);
  CHECK(body_of(host.call("GET", "/v2/sandboxes?metadata=n%3D9")).empty());
  CHECK(body_of(host.call("GET", "/v2/sandboxes?state=paused")).empty());
  CHECK(body_of(host.call("GET", "/v2/sandboxes?order=asc"))[0]["sandboxID"] == made[0]);
  CHECK(body_of(host.call("GET", "/sandboxes")).size() == 3);
  for (const char* bad : {"limit=0", "limit=101", "limit=x", "nextToken=zz", "state=odd",
                          "metadata=a", "order=up", "startedAfter=noon"}) {
    INFO(bad);
    auto a = host.call("GET", std::string{"/v2/sandboxes?"} + bad);
    CHECK(a.status == 400);
    CHECK(body_of(a).value("code", 0) == 400);
  }
}

TEST_CASE("bad requests are told apart, each with a JSON body that repeats its status") {
  host_state state;
  host_process host{state};
  struct row {
    const char *method, *target, *body;
    int status;
  };
  for (const auto& [method, target, body, status] :
       std::vector<row>{{"POST", "/sandboxes", "{", 400},
                        {"POST", "/v2/sandboxes", R"({"templateID":"base","timeout":0})", 400},
                        {"POST", "/v2/sandboxes", R"({"templateID":"base","mcp":{"x":{}}})", 501},
                        {"GET", "/sandboxes/iabc", "", 404},
                        {"GET", "/sandboxes/i_c", "", 400},
                        {"GET", "/sandboxes/a-b-c", "", 400},
                        {"DELETE", "/sandboxes/iabc", "", 404},
                        {"POST", "/sandboxes/iabc/connect", R"({"timeout":1})", 404},
                        {"POST", "/v2/sandboxes/iabc/connect", "", 404},
                        {"POST", "/sandboxes/iabc/pause", "{}", 404},
                        {"POST", "/v3/templates", R"({"name":"x"})", 501},
                        {"POST", "/templates/tags", "{}", 501},
                        {"GET", "/templates/aliases/no%2Fsuch", "", 404},
                        {"GET", "/templates/other", "", 404},
                        {"GET", "/templates/base/nowhere", "", 404},
                        {"DELETE", "/templates/base", "", 400},
                        {"GET", "/templates/%zz", "", 400},
                        {"GET", "/v2/templates?limit=0", "", 400},
                        {"GET", "/snapshots?nextToken=x", "", 400},
                        {"DELETE", "/snapshots", "", 405},
                        {"GET", "/v3/sandboxes", "", 404},
                        {"POST", "/volumes", "{}", 501},
                        {"GET", "/secrets/x", "", 404},
                        {"GET", "/events/sandboxes", "", 501},
                        {"GET", "/nowhere", "", 404},
                        {"GET", "/skep/v1/nothing", "", 404},
                        {"GET", "/skep/v1/sandboxes/iabc/usage", "", 404},
                        {"PUT", "/sandboxes", "", 405}}) {
    INFO(method << " " << target << " " << body);
    auto a = host.call(method, target, body);
    CHECK(a.status == status);
    CHECK(body_of(a).value("code", 0) == status);
    CHECK(body_of(a).contains("message"));
  }
  auto garbage = host.connect();
  garbage.send("this is no HTTP\r\n\r\n");
  CHECK(garbage.read_answer().status == 400);
  auto c = host.connect();
  c.send(host_process::text("POST", "/sandboxes", std::string(2u << 20, ' '), {}));
  CHECK(c.read_answer().status == 413);
}

TEST_CASE("a create may come in chunks, on a connection that carries more requests") {
  host_state state;
  host_process host{state};
  auto c = host.connect();
  c.send("POST /v2/sandboxes HTTP/1.1\r\nhost: 127.0.0.1\r\n"
         "transfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"
         "8\r\n{\"templa\r\n10\r\nteID\" : \"base\"} \r\n0\r\n\r\n");
  auto a = c.read_answer();
  INFO(a.first_line << a.body);
  REQUIRE(a.status == 201);
  auto j = body_of(a);
  sandbox s{j.at("sandboxID").get<std::string>(), j.at("envdAccessToken").get<std::string>()};
  c.send(host_process::text("GET", "/health", {}, host_process::to(s)));
  CHECK(c.read_answer().status == 204);
  c.send(host_process::text("DELETE", "/sandboxes/" + s.id, {}, {}));
  CHECK(c.read_answer().status == 204);
}

TEST_CASE(
    "the proxy finds the sandbox by headers or host name and refuses what is not for outsiders") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());
  auto c = host.connect();
  c.send("GET /health HTTP/1.1\r\nHost: 49983-" + s.id + ".sandbox.local\r\n\r\n");
  CHECK(c.read_answer().status == 204);
  for (const char* path : {"/init", "/freeze", "/upgrade?x=1", "/%66reeze", "/in%69t"}) {
    auto a = host.envd(s, "POST", path);
    CHECK(a.status == 404);
    CHECK(body_of(a).value("code", 0) == 404);
  }
  auto half = host.call("GET", "/health", {}, {{"E2b-Sandbox-Id", s.id}});
  CHECK(half.status == 400);
  CHECK(half.body == "missing header");
  auto port = host.call("GET", "/", {}, {{"E2b-Sandbox-Id", s.id}, {"E2b-Sandbox-Port", "3000"}});
  CHECK(port.status == 502);
  CHECK(body_of(port).value("port", 0) == 3000);
  CHECK(host.call("GET", "/", {}, {{"E2b-Sandbox-Id", "i/../x"}, {"E2b-Sandbox-Port", "49983"}})
            .status
        == 400);
  auto no_token = host_process::to(s);
  no_token.erase("X-Access-Token");
  CHECK(host.call("POST", "/process.Process/List", "{}", no_token).status == 401);
}

TEST_CASE("streams pass as they come, and large files whole") {
  host_state state;
  host_process host{state};
  auto s = host.create();
  REQUIRE(s.ok());

  // The start event arrives although the command says nothing, the first line before it ends.
  auto stream = host.start(s, "echo one; read -t 1000 < /dev/zero; sleep 1000");
  CHECK(stream.pid() > 0);
  CHECK(stream.event().contains("data"));

  std::string data;
  for (unsigned i = 0; data.size() < (8u << 20); ++i)
    data += std::to_string(i * 2654435761u) + '\n';
  auto headers = host_process::to(s);
  headers["Content-Type"] = "application/octet-stream";
  auto put = host.call("POST", "/files?path=big", data, headers);
  INFO(put.first_line << put.body);
  CHECK(put.status == 200);
  CHECK(host.envd(s, "GET", "/files?path=big").body == data);

  // Many requests over one connection.
  auto c = host.connect();
  for (int i = 0; i < 20; ++i) {
    c.send(host_process::text("GET", "/health", {}, host_process::to(s)));
    CHECK(c.read_answer().status == 204);
  }
}

TEST_CASE("the gateway puts the real key on requests of the sandbox, which never sees it") {
  host_state state;
  tcp_listener upstream;
  host_process host{state,
                    {"--gateway-upstream",
                     "api.example.com=http://127.0.0.1:" + std::to_string(upstream.port())}};
  auto s = host.create({{"network",
                         {{"rules",
                           {{"api.example.com",
                             {{{"transform", {{"headers", {{"x-api-key", "real-key-4711"}}}}},
                               {"paths", {"/v1"}}}}}}}}}});
  REQUIRE(s.ok());
  auto stream = host.start(
      s, "exec 3<>/dev/tcp/127.0.0.1/49984; printf 'GET /api.example.com/v1/x HTTP/1.1\\r\\nHost: "
         "127.0.0.1\\r\\nx-api-key: placeholder\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3");
  auto peer = upstream.accept();
  auto seen = peer.read_header();
  CHECK(seen.first_line == "GET /v1/x HTTP/1.1");
  CHECK(seen.headers["x-api-key"] == "real-key-4711");
  peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
  stream.finish();
  CHECK(stream.out.find("hello") != std::string::npos);
  // In halves, as this very command line is looked at too.
  CHECK(host.run(s, "printf %s%s real-key -4711 > /dev/shm/p; cat /proc/[0-9]*/environ "
                    "/proc/[0-9]*/cmdline 2>/dev/null | grep -acf /dev/shm/p; "
                    "grep -rsf /dev/shm/p /home /tmp /run /etc | wc -l")
        == "0\n0\n");
  auto usage = body_of(host.call("GET", "/skep/v1/sandboxes/" + s.id + "/usage"));
  CHECK(usage["gateway"].value("requests", 0) == 1);
  auto detail = host.call("GET", "/sandboxes/" + s.id).body;
  CHECK(detail.find("real-key") == std::string::npos);
}
