// The control API, deadlines, cancel and the end of the client.
#include "tests/sandbox/client_fixture.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

// -----------------------------------------------------------------------------------

TEST_CASE("create sends key and body and reads the address") {
  fixture f{[](peer& p, const request&) {
    p.answer(201, R"({"templateID":"base","sandboxID":"i9","clientID":"0","envdVersion":"0.6.13",
                      "envdAccessToken":"tok","domain":"x.example"})");
  }};
  auto r = await<created>([&](auto then) { f.api.create({}, then); });
  REQUIRE(r);
  CHECK(r->address.remote_id == "i9");
  CHECK(r->address.access_token == "tok");
  CHECK(r->address.domain == "x.example");
  auto seen = f.server.requests().at(0);
  CHECK(seen.method == "POST");
  CHECK(seen.target == "/sandboxes");
  CHECK(seen.header("x-api-key") == key);
  CHECK(seen.header("content-type") == "application/json");
  CHECK(json::parse(seen.body)["timeout"] == 120);
}

TEST_CASE("a create is sent once, whatever happens to its answer") {
  auto kind = GENERATE(0, 1, 2);
  fixture f{[kind](peer& p, const request&) {
    if (kind == 0) return p.close();
    if (kind == 1) return void(p.answer(503, "busy"));
    p.answer(201, "garbage");
  }};
  auto r = await<created>([&](auto then) { f.api.create({}, then); });
  CHECK(r.err().code == (kind == 2 ? errc::protocol : errc::network));
  CHECK(r.err().step == "create");
  CHECK(f.server.requests().size() == 1);
}

TEST_CASE("quota and rate are told apart, and keys never appear in an error") {
  fixture f{[](peer& p, const request& r) {
    auto body = R"({"code":429,"message":"too many for )" + r.header("x-api-key") + "\"}";
    if (r.method == "POST")
      p.answer(429, body, {"Retry-After: 3"});
    else
      p.answer(429, body);
  }};
  auto rate = await<created>([&](auto then) { f.api.create({}, then); });
  CHECK(rate.err().code == errc::rate);
  CHECK(rate.err().retry_after_ms == 3000);
  CHECK(rate.err().cause == "too many for [key]");
  auto quota = await<sandbox::detail>([&](auto then) { f.api.get("i1", then); });
  CHECK(quota.err().code == errc::quota);
  CHECK(render(quota.err()).find(key) == std::string::npos);
}

TEST_CASE("the key is asked for at each request, and no key that was sent appears in an error") {
  std::atomic<int> asked{0};
  script_server server{[](peer& p, const request& r) {
    p.answer(401, R"({"code":401,"message":"k1-abcde, k2-abcde, )" + r.header("x-api-key") + "\"}");
  }};
  endpoint where{"test", server.url(), server.url(), "", ""};
  where.api_key = key_source{[&asked] { return "k" + std::to_string(++asked) + "-abcde"; }};
  client api{std::make_shared<http_engine>(), where};
  auto get = [&] { return await<sandbox::detail>([&](auto then) { api.get("i1", then); }).err(); };
  CHECK(get().cause == "[key], k2-abcde, [key]");
  CHECK(get().cause == "[key], [key], [key]");
  CHECK(server.requests().at(1).header("x-api-key") == "k2-abcde");
  CHECK(asked == 2);
}

TEST_CASE("list follows all pages and keeps what matches the filter") {
  fixture f{[](peer& p, const request& r) {
    auto at = r.target.find("nextToken=");
    const int page = at == std::string::npos ? 0 : std::stoi(r.target.substr(at + 10));
    json out = json::array();
    for (int i = 0; i < 100; ++i)
      out.push_back({{"sandboxID", "i" + std::to_string(page * 100 + i)},
                     {"state", i % 10 ? "running" : "paused"},
                     {"metadata", {{"skep.install", i % 2 ? "ours" : "theirs"}}}});
    std::vector<std::string> headers;
    if (page < 4) headers.push_back("X-Next-Token: " + std::to_string(page + 1));
    p.answer(200, out.dump(), headers);
  }};
  auto r = await<std::vector<listed>>([&](auto then) {
    f.api.list({{{"skep.install", "ours"}}, true, true}, then);
  });
  REQUIRE(r);
  CHECK(r->size() == 250);
  CHECK(f.server.requests().size() == 5);
  CHECK(f.server.connections() == 1);
}

TEST_CASE("pages that do not end are a protocol error") {
  fixture f{[](peer& p, const request&) { p.answer(200, "[]", {"X-Next-Token: same"}); }};
  auto r = await<std::vector<listed>>([&](auto then) { f.api.list({}, then); });
  CHECK(r.err().code == errc::protocol);
  CHECK(f.server.requests().size() == 2);
}

TEST_CASE("kill says whether the sandbox was there") {
  fixture f{[](peer& p, const request& r) {
    if (r.target == "/sandboxes/i1")
      p.answer(204);
    else if (r.target == "/sandboxes/i2")
      p.answer(404, R"({"code":404,"message":"Sandbox doesn't exist"})");
    else
      p.answer(404, "404 page not found");
  }};
  auto kill = [&](const char* id) { return await<bool>([&](auto then) { f.api.kill(id, then); }); };
  CHECK(*kill("i1"));
  CHECK_FALSE(*kill("i2"));
  CHECK(kill("i3").err().code == errc::protocol); // no E2B service said so
  CHECK(kill("../i1").err().code == errc::bad_argument);
  CHECK(f.server.requests().size() == 3);
}

TEST_CASE("a call that fails twice in passing succeeds at the third attempt, after 1 s and 2 s") {
  using clock = std::chrono::steady_clock;
  std::mutex mutex;
  std::vector<clock::time_point> at;
  fixture f{[&](peer& p, const request&) {
              std::lock_guard lock{mutex};
              at.push_back(clock::now());
              if (at.size() == 1) return p.close();
              if (at.size() == 2) return void(p.answer(503, "not now"));
              p.answer(200, R"({"sandboxID":"i1","state":"running","envdAccessToken":"t2"})");
            },
            policy{}};
  auto r = await<sandbox::detail>([&](auto then) { f.api.get("i1", then); });
  REQUIRE(r);
  CHECK(r->address.access_token == "t2");
  std::lock_guard lock{mutex};
  REQUIRE(at.size() == 3);
  CHECK(at[1] - at[0] >= 740ms); // jitter takes off a quarter at most
  CHECK(at[2] - at[1] >= 1490ms);
}

TEST_CASE("three failures are an error that says how many there were and why") {
  auto kind = GENERATE(0, 1, 2);
  fixture f{[kind](peer& p, const request&) {
    if (kind == 0) return p.close();
    if (kind == 1) return void(p.answer(503, R"({"code":503,"message":"all busy"})"));
    p.answer(429, R"({"code":429,"message":"slow down"})", {"Retry-After: 1"});
  }};
  auto start = GENERATE(true, false); // one that reads, one that is done once by being done twice
  if (kind == 2 && !start) return;    // two waits of a second are enough
  auto why = start ? await<sandbox::detail>([&](auto then) { f.api.get("i1", then); }).err()
                   : await<void>([&](auto then) { f.api.set_timeout("i1", 9s, then); }).err();
  CHECK(why.code == (kind == 2 ? errc::rate : errc::network));
  CHECK(why.step == (start ? "get" : "set_timeout"));
  CHECK(why.message.ends_with("after 3 attempts"));
  if (kind == 1) CHECK(why.message == "test: HTTP status 503, after 3 attempts");
  if (kind == 1) CHECK(why.cause == "all busy");
  CHECK(f.server.requests().size() == 3);
}

TEST_CASE("what is no passing failure is not repeated, and no attempts are counted") {
  auto status = GENERATE(400, 401, 403, 404, 409, 429);
  fixture f{[status](peer& p, const request&) {
    p.answer(status, R"({"code":)" + std::to_string(status) + R"(,"message":"no"})");
  }};
  auto why = await<sandbox::detail>([&](auto then) { f.api.get("i1", then); }).err();
  CHECK(why.code != errc::network);
  CHECK(why.message.find("attempts") == std::string::npos);
  CHECK(f.server.requests().size() == 1);
}

TEST_CASE("a repeat that the deadline leaves no time for is not waited for") {
  fixture f{[](peer& p, const request&) { p.answer(503, "busy"); }, policy{}};
  call_options brief;
  brief.deadline = 500ms;
  auto before = std::chrono::steady_clock::now();
  auto why = await<entry>([&](auto then) { f.api.stat(box, "/x", brief, then); }).err();
  CHECK(why.code == errc::network);
  CHECK(std::chrono::steady_clock::now() - before < 500ms);
  CHECK(f.server.requests().size() == 1);
}

TEST_CASE("set_timeout and set_network send what the protocol wants") {
  fixture f{[](peer& p, const request&) { p.answer(204); }};
  CHECK(await<void>([&](auto then) { f.api.set_timeout("i1", 90s, then); }));
  network_rules rules;
  rules.inject["api.x"]["h"] = "v";
  CHECK(await<void>([&](auto then) { f.api.set_network("i1", rules, then); }));
  auto seen = f.server.requests();
  CHECK(seen[0].target == "/sandboxes/i1/timeout");
  CHECK(seen[0].body == R"({"timeout":90})");
  CHECK(seen[1].method == "PUT");
  CHECK(json::parse(seen[1].body)["rules"]["api.x"][0]["transform"]["headers"]["h"] == "v");
}

// ------------------------------------------------------------------------

TEST_CASE("a call's own deadline takes the place of the policy's, and cancel ends a call") {
  watched<int> arrived{0};
  fixture f{[&](peer& p, const request&) {
    arrived.change([](int& n) { ++n; });
    p.wait_closed();
  }};
  call_options brief;
  brief.deadline = 80ms;
  auto r = await<entry>([&](auto then) { f.api.stat(box, "/x", brief, then); });
  CHECK(r.err().code == errc::timed_out);
  CHECK(r.err().message == "test: no answer within 80 ms");

  std::promise<result<sandbox::detail>> p;
  auto id = f.api.get("i1", [&](result<sandbox::detail> x) { p.set_value(std::move(x)); });
  REQUIRE(arrived.until([](int n) { return n == 2; }));
  f.api.cancel(id);
  CHECK(value_of(p.get_future()).err().code == errc::cancelled);
}

TEST_CASE("the end of the client ends its calls, each once, and leaves the engine to others") {
  script_server server{[](peer& p, const request& r) {
    if (r.target == "/health")
      p.answer(204);
    else
      p.wait_closed();
  }};
  auto engine = std::make_shared<http_engine>();
  client other{engine, {"o", server.url(), server.url(), "", ""}};
  std::atomic<int> cancelled{0}, rest{0};
  {
    client c{engine, {"c", server.url(), server.url(), "", ""}};
    auto count = [&](auto r) { ++(!r.ok() && r.err().code == errc::cancelled ? cancelled : rest); };
    for (int i = 0; i < 10; ++i) {
      c.get("i1", count);
      c.run(box, argv({"x"}), count);
      stream_handlers h;
      h.on_end = count;
      c.open_stream(box, argv({"x"}), h);
    }
  }
  CHECK(cancelled == 30);
  CHECK(rest == 0);
  CHECK(await<void>([&](auto then) { other.health(box, then); }));
}
