// The whole control API: what is sent, and what is made of the answers.
#include "tests/sandbox/client_fixture.hpp"

#include "sandbox/control.hpp"
#include "sandbox/wire_control.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

namespace {

const std::string made = R"({"templateID":"base","sandboxID":"i9","clientID":"0","alias":"base",
  "envdVersion":"0.6.13","envdAccessToken":"tok","trafficAccessToken":"tt","domain":null})";

struct more : fixture {
  explicit more(script_server::handler h) : fixture(std::move(h)), all(api) {}
  control all;
};

endpoint v2_of(const script_server& server) {
  endpoint out{"test", server.url(), server.url(), "", key};
  out.paths = generation::v2;
  return out;
}

} // namespace

TEST_CASE("create sends every field, by the protocol's names, on the path of its generation") {
  more f{[](peer& p, const request&) { p.answer(201, made); }};
  create_all_params c;
  c.template_name = "tpl:v1";
  c.lease = 90s;
  c.auto_pause = c.auto_resume = true;
  c.network.internet = false;
  c.network.allow_out = {"api.x"};
  c.network.deny_out = {"10.0.0.0/8"};
  c.network.proxy = egress_proxy{"p.x:3128", "u", "w"};
  c.network.inject["api.x"]["k"] = "v";
  c.allow_public_traffic = false;
  c.mask_request_host = "h-${PORT}";
  c.mcp_json = R"({"servers":[1]})";
  c.identity["t"] = {"aud", "JWT-SVID"};
  c.volumes.push_back({"vol", "/mnt"});
  auto r = await<created>([&](auto then) { f.all.create_all(c, then); });
  REQUIRE(r);
  CHECK(r->address.remote_id == "i9");
  CHECK(r->traffic_token == "tt");
  CHECK(r->template_id == "base");
  auto seen = f.server.requests().at(0);
  CHECK(seen.target == "/sandboxes");
  CHECK(nlohmann::json::parse(seen.body)
        == nlohmann::json::parse(R"({"templateID":"tpl:v1","timeout":90,
    "autoPause":true,"allow_internet_access":false,"metadata":{},"envVars":{},"secure":true,
    "autoResume":{"enabled":true},
    "network":{"allowOut":["api.x"],"denyOut":["10.0.0.0/8","0.0.0.0/0"],
      "egressProxy":{"address":"p.x:3128","username":"u","password":"w"},
      "rules":{"api.x":[{"transform":{"headers":{"k":"v"}}}]},
      "allowPublicTraffic":false,"maskRequestHost":"h-${PORT}"},
    "mcp":{"servers":[1]},"iam":{"tokens":{"t":{"audience":"aud","tokenType":"JWT-SVID"}}},
    "volumeMounts":[{"name":"vol","path":"/mnt"}]})"));

  client second{f.engine, v2_of(f.server)};
  CHECK(await<created>([&](auto then) { second.create({}, then); }));
  c = {};
  c.auto_pause = true;
  c.auto_pause_memory = false;
  CHECK(await<created>([&](auto then) { control{second}.create_all(c, then); }));
  auto requests = f.server.requests();
  CHECK(requests[1].target == "/v2/sandboxes");
  CHECK_FALSE(json::parse(requests[1].body).contains("secure")); // v2 has no such field
  CHECK(requests[2].target == "/v2/sandboxes");
  CHECK(json::parse(requests[2].body)["autoPauseMemory"] == false);
}

TEST_CASE("what excludes each other in create is refused before anything is sent") {
  more f{[](peer& p, const request&) { p.answer(201, made); }};
  create_all_params c;
  auto code = [&] {
    return await<created>([&](auto then) { f.all.create_all(c, then); }).err().code;
  };
  c.auto_resume = true;
  CHECK(code() == errc::bad_argument);
  c = {};
  c.auto_pause_memory = false;
  CHECK(code() == errc::bad_argument);
  c = {};
  c.allow_public_traffic = false;
  c.secure = false;
  CHECK(code() == errc::bad_argument);
  c = {};
  c.mcp_json = "[]";
  CHECK(code() == errc::bad_argument);
  CHECK(f.server.requests().empty());
}

TEST_CASE("connect tells a resume from a running sandbox, on both generations' paths") {
  more f{[](peer& p, const request& r) {
    p.answer(r.target.find("/iold/") != std::string::npos ? 201 : 200, made);
  }};
  auto a = await<created>([&](auto then) { f.api.connect("inew", 40s, then); });
  REQUIRE(a);
  CHECK_FALSE(a->resumed);
  CHECK(a->address.access_token == "tok");
  client second{f.engine, v2_of(f.server)};
  auto b = await<created>([&](auto then) { second.connect("iold", 40s, then); });
  REQUIRE(b);
  CHECK(b->resumed);
  auto seen = f.server.requests();
  CHECK(seen[0].target == "/sandboxes/inew/connect");
  CHECK(seen[1].target == "/v2/sandboxes/iold/connect");
  CHECK(seen[0].body == R"({"timeout":40})");
}

TEST_CASE("pause, resume and refresh: a conflict is an answer where the protocol means it so") {
  more f{[](peer& p, const request& r) {
    if (r.path() == "/sandboxes/ipaused/pause")
      p.answer(409, R"({"code":409,"message":"Sandbox ipaused is already paused"})");
    else if (r.path() == "/sandboxes/irunning/resume")
      p.answer(409, R"({"code":409,"message":"already running"})");
    else if (r.path() == "/sandboxes/i1/resume")
      p.answer(201, made);
    else if (r.path() == "/sandboxes/inone/pause")
      p.answer(404, R"({"code":404,"message":"x"})");
    else
      p.answer(204);
  }};
  auto pause = [&](const char* id) {
    return await<bool>([&](auto then) { f.api.pause(id, true, then); });
  };
  CHECK(*pause("i1"));
  CHECK_FALSE(*pause("ipaused"));
  CHECK(pause("inone").err().code == errc::not_found);
  CHECK(await<bool>([&](auto then) { f.api.pause("i1", false, then); }));
  auto resume = [&](const char* id) {
    return await<created>([&](auto then) { f.all.resume_paused(id, 15s, true, then); });
  };
  CHECK(resume("i1")->address.remote_id == "i9");
  CHECK(resume("irunning").err().code == errc::wrong_phase);
  CHECK(await<void>([&](auto then) { f.all.refresh("i1", 60s, then); }));
  auto seen = f.server.requests();
  CHECK(seen[0].body == R"({"memory":true})");
  CHECK(seen[3].body == R"({"memory":false})");
  CHECK(seen[4].body == R"({"timeout":15,"autoPause":true})");
  CHECK(seen[6].body == R"({"duration":60})");
}

TEST_CASE("a page of the list carries filters, token and total") {
  more f{[](peer& p, const request&) {
    p.answer(200,
             R"([{"sandboxID":"i1","state":"paused","templateID":"t","alias":"a","cpuCount":2,
                  "memoryMB":512,"diskSizeMB":1024}])",
             {"X-Next-Token: n/1=", "X-Total-Running: 17"});
  }};
  page_query q;
  q.filter.metadata["k"] = "v";
  q.filter.running = false;
  q.filter.template_name = "team/x";
  q.filter.started_after = std::chrono::system_clock::time_point{1767323045678ms};
  q.filter.oldest_first = true;
  q.limit = 5;
  q.token = "a b";
  auto r = await<listed_page>([&](auto then) { f.all.list_page(q, then); });
  REQUIRE(r);
  CHECK(r->next_token == "n/1=");
  CHECK(r->total_running == 17U);
  CHECK(r->items.at(0).memory_mb == 512);
  CHECK(r->items.at(0).alias == "a");
  CHECK(f.server.requests()[0].target
        == "/v2/sandboxes?limit=5&state=paused&metadata=k%3Dv&template=team%2Fx&startedAfter=2026-"
           "01-02T03%3A04%3A05.678Z&order=asc&nextToken=a%20b");
  q.limit = 0;
  CHECK(await<listed_page>([&](auto then) { f.all.list_page(q, then); }).err().code
        == errc::bad_argument);
  CHECK(await<std::vector<listed>>([&](auto then) {
          f.all.list_running({{"k", "v"}}, then);
        })->size()
        == 1);
  CHECK(f.server.requests()[1].target == "/sandboxes?metadata=k%3Dv");
}

TEST_CASE("metrics of one and of many, and envd's own sample") {
  const std::string sample = R"({"timestamp":"2026-01-02T03:04:05Z","timestampUnix":1767323045,
    "cpuCount":2,"cpuUsedPct":12.5,"memUsed":10,"memTotal":20,"memCache":3,"diskUsed":4,
    "diskTotal":"5000000000"})";
  more f{[&](peer& p, const request& r) {
    if (r.path() == "/sandboxes/metrics")
      p.answer(200, R"({"sandboxes":{"i1":)" + sample + "}}");
    else if (r.path() == "/metrics")
      p.answer(200, R"({"ts":1767323045,"cpu_count":2,"cpu_used_pct":1.5,"mem_total_mib":1,
                        "mem_used_mib":1,"mem_total":9,"mem_used":8,"mem_cache":7,"disk_used":6,
                        "disk_total":5})");
    else
      p.answer(200, "[" + sample + "," + sample + "]");
  }};
  const std::chrono::system_clock::time_point at{1767323045s};
  auto many = await<std::vector<usage_sample>>(
      [&](auto then) { f.all.metrics("i1", at, at + 100s, then); });
  REQUIRE(many);
  REQUIRE(many->size() == 2);
  CHECK(many->at(1).at == at);
  CHECK(many->at(1).cpu_used_percent == 12.5);
  CHECK(many->at(1).disk_total_bytes == 5'000'000'000);
  auto by_id = await<std::map<std::string, usage_sample>>([&](auto then) {
    f.all.metrics_of({"i1", "inone"}, then);
  });
  REQUIRE(by_id);
  CHECK(by_id->size() == 1);
  CHECK(by_id->at("i1").memory_used_bytes == 10);
  auto own = await<usage_sample>([&](auto then) { f.api.usage(box, then); });
  REQUIRE(own);
  CHECK(own->at == at);
  CHECK(own->memory_used_bytes == 8);
  CHECK(own->disk_total_bytes == 5);
  auto seen = f.server.requests();
  CHECK(seen[0].target == "/sandboxes/i1/metrics?start=1767323045&end=1767323145");
  CHECK(seen[1].target == "/sandboxes/metrics?sandbox_ids=i1,inone");
  CHECK(seen[2].header("x-access-token") == "tok-1");
  CHECK(await<std::map<std::string, usage_sample>>(
            [&](auto then) { f.all.metrics_of(std::vector<std::string>(101, "i1"), then); })
            .err()
            .code
        == errc::bad_argument);
}

TEST_CASE("logs of both generations are read into the same entries") {
  more f{[](peer& p, const request& r) {
    const std::string entry = R"({"timestamp":"2026-01-02T03:04:05Z","level":"warn",
                                  "message":"m","fields":{"a":"b"}})";
    if (r.path() == "/v2/sandboxes/i1/logs")
      p.answer(200, R"({"logs":[)" + entry + "]}");
    else
      p.answer(200, R"({"logs":[{"timestamp":"2026-01-02T03:04:05Z","line":"x"}],"logEntries":[)"
                        + entry + "]}");
  }};
  log_query q;
  q.cursor = std::chrono::system_clock::time_point{1500ms};
  q.limit = 7;
  q.backward = true;
  q.at_least = log_level::warn;
  q.search = "a b";
  auto r = await<std::vector<log_entry>>([&](auto then) { f.all.logs("i1", q, then); });
  REQUIRE(r);
  REQUIRE(r->size() == 1);
  CHECK(r->at(0).level == log_level::warn);
  CHECK(r->at(0).fields.at("a") == "b");
  r = await<std::vector<log_entry>>(
      [&](auto then) { f.all.logs_v1("i1", std::chrono::system_clock::time_point{2s}, 9, then); });
  REQUIRE(r);
  CHECK(r->at(0).message == "m");
  auto seen = f.server.requests();
  CHECK(seen[0].target
        == "/v2/sandboxes/i1/logs?limit=7&cursor=1500&direction=backward&level=warn&search=a%20b");
  CHECK(seen[1].target == "/sandboxes/i1/logs?limit=9&start=2000");
}

TEST_CASE("snapshots and forks") {
  more f{[](peer& p, const request& r) {
    if (r.method == "DELETE")
      p.answer(r.target == "/templates/team%2Fx%3Adefault" ? 204 : 404,
               r.target == "/templates/team%2Fx%3Adefault" ? "" : R"({"code":404})");
    else if (r.path() == "/snapshots")
      p.answer(200, R"([{"snapshotID":"team/x:default","names":["a"]}])", {"X-Next-Token: t"});
    else if (r.path() == "/sandboxes/i1/fork")
      p.answer(201, "[{\"sandbox\":" + made
                        + R"(},{"error":{"code":429,"message":"maximum"}},)"
                          R"({"error":{"code":503,"error_code":"sandbox_capacity_unavailable"}}])");
    else
      p.answer(201, R"({"snapshotID":"team/x:default","names":["team/x:default"]})");
  }};
  auto s = await<snapshot>([&](auto then) { f.all.create_snapshot("i1", "x", then); });
  REQUIRE(s);
  CHECK(s->snapshot_id == "team/x:default");
  snapshot_query q;
  q.remote_id = "i1";
  q.limit = 3;
  auto page = await<snapshot_page>([&](auto then) { f.all.list_snapshots(q, then); });
  REQUIRE(page);
  CHECK(page->items.at(0).names == std::vector<std::string>{"a"});
  CHECK(page->next_token == "t");
  auto gone = [&](const char* id) {
    return await<bool>([&](auto then) { f.all.delete_snapshot(id, then); });
  };
  CHECK(*gone("team/x:default"));
  CHECK_FALSE(*gone("team/y"));
  CHECK(gone("..").err().code == errc::bad_argument);
  auto forks =
      await<std::vector<result<created>>>([&](auto then) { f.all.fork("i1", 3, 60s, then); });
  REQUIRE(forks);
  REQUIRE(forks->size() == 3);
  CHECK(forks->at(0)->address.remote_id == "i9");
  CHECK(forks->at(1).err().code == errc::quota);
  CHECK(forks->at(2).err().code == errc::capacity);
  auto seen = f.server.requests();
  CHECK(seen[0].body == R"({"name":"x"})");
  CHECK(seen[1].target == "/snapshots?limit=3&sandboxID=i1");
  CHECK(seen.back().body == R"({"count":3,"timeout":60})");
}

TEST_CASE("calls that change something are sent once, idempotent ones again, and Retry-After is "
          "obeyed") {
  std::atomic<int> n{0};
  more f{[&](peer& p, const request& r) {
    ++n;
    if (r.path() == "/sandboxes/irate")
      return void(n == 1 ? p.answer(429, R"({"code":429})", {"Retry-After: 1"})
                         : p.answer(200, R"({"sandboxID":"irate"})"));
    if (n == 1) return void(p.answer(503, "not now"));
    p.answer(204);
  }};
  SECTION("a fork might have happened") {
    auto r = await<std::vector<result<created>>>([&](auto then) { f.all.fork("i1", 2, 0s, then); });
    CHECK(r.err().code == errc::network);
    CHECK(n == 1);
  }
  SECTION("a lease set twice is a lease") {
    CHECK(await<void>([&](auto then) { f.api.set_timeout("i1", 9s, then); }));
    CHECK(n == 2);
  }
  SECTION("a read waits as long as the provider says") {
    const auto begin = std::chrono::steady_clock::now();
    CHECK(await<sandbox::detail>([&](auto then) { f.api.get("irate", then); }));
    CHECK(n == 2);
    CHECK(std::chrono::steady_clock::now() - begin >= 1s);
  }
}

TEST_CASE("a detail says what the lease's end does") {
  more f{[](peer& p, const request&) {
    p.answer(200, R"({"sandboxID":"i1","state":"running","allowInternetAccess":false,
      "lifecycle":{"autoResume":true,"onTimeout":"pause"},"cpuCount":4})");
  }};
  auto r = await<sandbox::detail>([&](auto then) { f.api.get("i1", then); });
  REQUIRE(r);
  CHECK(r->internet == false);
  CHECK(r->auto_resume);
  CHECK(r->pause_at_end);
  CHECK(r->cpu_count == 4);
}

TEST_CASE("a refused key is the error class auth at once and is not tried again", "[owasp-a07]") {
  more f{[](peer& p, const request&) {
    p.answer(401, R"({"code":401,"message":"Cannot get the team for the given API key"})");
  }};
  CHECK(await<sandbox::detail>([&](auto then) { f.api.get("i1", then); }).err().code == errc::auth);
  CHECK(f.server.requests().size() == 1);
  CHECK(await<std::vector<listed>>([&](auto then) { f.api.list({}, then); }).err().code
        == errc::auth);
  CHECK(f.server.requests().size() == 2);
}
