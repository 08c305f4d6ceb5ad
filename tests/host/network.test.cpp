// What a sandbox may reach: tunnels through its gateway, and PUT /sandboxes/{id}/network.
#include "tests/host/host_fixture.hpp"

using namespace skep;
using namespace skep::test;

namespace {

std::string here(const tcp_listener& upstream) {
  return "http://127.0.0.1:" + std::to_string(upstream.port());
}

/// Opens a connection to `host` as through any proxy, says hello, and prints what comes.
std::string through_proxy(const std::string& host) {
  return "exec 3<>/dev/tcp/127.0.0.1/49984; printf 'CONNECT " + host
         + ":443 HTTP/1.1\\r\\nHost: " + host + "\\r\\n\\r\\nhello' >&3; cat <&3";
}

json allowing(const json& hosts) {
  return {{"allowOut", hosts}, {"denyOut", {"0.0.0.0/0"}}};
}

int put_network(const host_process& host, const std::string& id, const json& rules) {
  return host.call("PUT", "/sandboxes/" + id + "/network", rules.dump()).status;
}

} // namespace

TEST_CASE("programs inside find a proxy when hosts are allowed, and it leads to those alone") {
  host_state state;
  tcp_listener upstream;
  host_process host{state, {"--gateway-upstream", "files.example.com=" + here(upstream)}};
  auto s = host.create(
      {{"network", allowing({"Files.example.com"})}, {"envVars", {{"no_proxy", "mine"}}}});
  REQUIRE(s.ok());
  CHECK(host.run(s, "echo $HTTPS_PROXY $http_proxy $no_proxy $NO_PROXY")
        == "http://127.0.0.1:49984 http://127.0.0.1:49984 mine localhost,127.0.0.1,::1\n");
  auto stream = host.start(s, through_proxy("files.example.com"));
  auto there = upstream.accept();
  CHECK(there.take(5) == "hello");
  there.send("from outside");
  there.close();
  stream.finish();
  CHECK(stream.out == "HTTP/1.1 200 Connection established\r\n\r\nfrom outside");
  auto refused = host.run(s, through_proxy("other.example.com"));
  CHECK(refused.find("HTTP/1.1 403 ") == 0);
  CHECK(refused.find("not allowed") != std::string::npos);
  // There is no other way out.
  CHECK(host.run(s, "cat /proc/net/route | wc -l; getent hosts files.example.com || echo no name")
        == "1\nno name\n");
  auto usage = body_of(host.call("GET", "/skep/v1/sandboxes/" + s.id + "/usage"))["gateway"];
  CHECK(usage["tunnels"] == 1);
  CHECK(usage["bytesIn"] == 5);
  CHECK(usage["bytesOut"] == 12);
  CHECK(usage["refused"] == 1);
  auto detail = body_of(host.call("GET", "/sandboxes/" + s.id));
  CHECK(detail["network"]["allowOut"] == json{"files.example.com"});
  CHECK(detail["allowInternetAccess"] == false);
}

TEST_CASE("without allowed hosts there is no proxy, whatever an old SDK says of internet access") {
  host_state state;
  host_process host{state};
  auto s = host.create({{"allow_internet_access", true},
                        {"network",
                         {{"allowOut", {"api.example.com"}},
                          {"denyOut", {"0.0.0.0/0"}},
                          {"rules", {{"api.example.com", json::array()}}}}}});
  REQUIRE(s.ok());
  CHECK(host.run(s, "env | grep -ic proxy") == "0\n");
  CHECK(host.run(s, through_proxy("files.example.org")).find("HTTP/1.1 403 ") == 0);
  // A host with a rule is reached by it, not past it.
  CHECK(host.run(s, through_proxy("api.example.com")).find("HTTP/1.1 403 ") == 0);
}

TEST_CASE("other rules replace the former ones in a running sandbox, and cut what they close") {
  host_state state;
  tcp_listener one, two, model;
  host_process host{state,
                    {"--gateway-upstream", "one.example.com=" + here(one), "--gateway-upstream",
                     "two.example.com=" + here(two), "--gateway-upstream",
                     "api.example.com=" + here(model)}};
  auto s = host.create();
  REQUIRE(s.ok());
  CHECK(host.run(s, through_proxy("one.example.com")).find("HTTP/1.1 403 ") == 0);

  CHECK(put_network(host, s.id, allowing({"one.example.com"})) == 204);
  auto first = host.start(s, through_proxy("one.example.com"));
  auto first_there = one.accept();
  CHECK(first_there.take(5) == "hello");

  auto rules = allowing({"two.example.com"});
  json rule = {{"transform", {{"headers", {{"x-api-key", "key-9"}}}}}};
  rules["rules"] = {{"api.example.com", json::array({rule})}};
  CHECK(put_network(host, s.id, rules) == 204);
  CHECK(first_there.at_end());
  first.finish();
  CHECK(host.run(s, through_proxy("one.example.com")).find("HTTP/1.1 403 ") == 0);
  auto second = host.start(s, through_proxy("two.example.com"));
  CHECK(two.accept().take(5) == "hello");
  second.finish();
  auto asked =
      host.start(s, "exec 3<>/dev/tcp/127.0.0.1/49984; printf 'GET /api.example.com/v1/x "
                    "HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3");
  auto model_there = model.accept();
  CHECK(model_there.read_header().headers["x-api-key"] == "key-9");
  model_there.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  asked.finish();

  CHECK(put_network(host, s.id, json::object()) == 204); // what is left out is cleared
  CHECK(host.run(s, through_proxy("two.example.com")).find("HTTP/1.1 403 ") == 0);
  CHECK(
      body_of(host.call("GET", "/sandboxes/" + s.id))["network"].value("allowOut", json{}).empty());
}

TEST_CASE("rules that make no sense change nothing, and a paused sandbox keeps its own") {
  host_state state;
  tcp_listener one;
  host_process host{state, {"--gateway-upstream", "one.example.com=" + here(one)}};
  auto s = host.create({{"network", allowing({"one.example.com"})}});
  REQUIRE(s.ok());
  CHECK(put_network(host, s.id, {{"allowOut", {"one.example.com"}}}) == 400);
  CHECK(put_network(host, s.id, allowing({"*"})) == 400);
  CHECK(put_network(host, s.id, allowing({"http://x"})) == 400);
  CHECK(put_network(host, s.id, {{"denyOut", {"one.example.com"}}}) == 400);
  CHECK(put_network(host, s.id, {{"rules", {{"a b", json::array()}}}}) == 400);
  CHECK(put_network(host, s.id, {{"egressProxy", {{"address", "a:1"}}}}) == 501);
  CHECK(host.call("PUT", "/sandboxes/" + s.id + "/network", "[]").status == 400);
  CHECK(put_network(host, "inosuchsandbox", json::object()) == 404);
  auto stream = host.start(s, through_proxy("one.example.com"));
  CHECK(one.accept().take(5) == "hello");
  stream.finish();

  CHECK(host.call("POST", "/sandboxes/" + s.id + "/pause", "{}").status == 204);
  CHECK(put_network(host, s.id, json::object()) == 409);
  CHECK(host.call("POST", "/sandboxes/" + s.id + "/resume", "{\"timeout\":60}").status == 201);
  auto after = host.start(s, through_proxy("one.example.com"));
  CHECK(one.accept().take(5) == "hello");
  after.finish();
}

TEST_CASE("what a sandbox spends is told call by call, bounded, and its keys can be taken away") {
  host_state state;
  tcp_listener model;
  host_process host{
      state,
      {"--gateway-upstream", "api.example.com=" + here(model), "--price", "model-x=2,10,2.5,0.2"}};
  json rule = {{"transform", {{"headers", {{"x-api-key", "key-7"}}}}}};
  json rules = {{"api.example.com", json::array({rule})}};
  auto s = host.create({{"network", {{"rules", rules}}}});
  REQUIRE(s.ok());
  const auto base = "/skep/v1/sandboxes/" + s.id;
  auto call = [&] {
    return host.start(s, "exec 3<>/dev/tcp/127.0.0.1/49984; printf 'POST "
                         "/api.example.com/v1/messages HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: "
                         "0\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3");
  };
  const std::string used =
      R"({"model":"model-x-1","usage":{"input_tokens":100,"output_tokens":10}})";
  for (int i = 0; i < 2; ++i) {
    auto stream = call();
    auto there = model.accept();
    there.read_header();
    there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
               + std::to_string(used.size()) + "\r\n\r\n" + used);
    stream.finish();
  }
  auto usage = body_of(host.call("GET", base + "/usage"));
  CHECK(usage["cursor"] == 2);
  CHECK(usage["oldest"] == 1);
  CHECK(usage["calls"].size() == 2);
  CHECK(usage["calls"][0]["microUsd"] == 300);
  CHECK(usage["gateway"]["microUsd"] == 600);
  CHECK(usage["gateway"]["models"]["model-x-1"]["tokens"]["input"] == 200);
  CHECK(usage["gateway"]["allowance"]["usedUp"] == false);
  auto rest = body_of(host.call("GET", base + "/usage?after=1"));
  REQUIRE(rest["calls"].size() == 1);
  CHECK(rest["calls"][0]["seq"] == 2);

  auto limited = host.call("PUT", base + "/allowance", R"({"microUsd":600})");
  CHECK(limited.status == 200);
  CHECK(body_of(limited)["gateway"]["allowance"]["usedUp"] == true);
  auto stream = call();
  stream.finish();
  CHECK(stream.out.find("HTTP/1.1 402 ") == 0);
  CHECK(host.call("PUT", base + "/allowance", R"({"microUsd":null})").status == 200);

  auto revoked = host.call("DELETE", base + "/keys");
  CHECK(revoked.status == 200);
  CHECK(body_of(revoked)["gateway"]["keysRevoked"] == true);
  auto refused = call();
  refused.finish();
  CHECK(refused.out.find("HTTP/1.1 403 ") == 0);

  CHECK(host.call("PUT", base + "/allowance", R"({"tokens":-1})").status == 400);
  CHECK(host.call("PUT", base + "/allowance", "[]").status == 400);
  CHECK(host.call("GET", base + "/usage?after=x").status == 400);
  CHECK(host.call("POST", base + "/usage", "{}").status == 404);
  CHECK(host.call("GET", "/skep/v1/sandboxes/inosuchsandbox/usage").status == 404);
}
