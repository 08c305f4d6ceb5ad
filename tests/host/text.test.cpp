#include "host/create_request.hpp"
#include "host/history.hpp"
#include "host/lease.hpp"
#include "host/web_text.hpp"
#include "tests/support/catch.hpp"

#include <poll.h>

using namespace skep;
using namespace skep::host;

TEST_CASE("a metadata filter is unescaped as often as the SDK escapes it") {
  // As the JS SDK 2.51 sends it for {"k y": "a&b=c d"}.
  auto query =
      parse_query("metadata=k%252520y%3Da%252526b%25253Dc%252520d&state=running,paused&limit=5");
  REQUIRE(query);
  REQUIRE(query->size() == 3);
  CHECK((*query)[1].second == "running,paused");
  auto filter = parse_metadata_filter((*query)[0].second);
  REQUIRE(filter);
  CHECK(*filter == string_map{{"k y", "a&b=c d"}});
  CHECK(parse_metadata_filter("a=b&c=d") == string_map{{"a", "b"}, {"c", "d"}});
  CHECK_FALSE(parse_metadata_filter("a"));
  CHECK_FALSE(parse_metadata_filter("a=b=c"));
  CHECK_FALSE(parse_metadata_filter("a=%zz"));
}

TEST_CASE("URL text decodes plus and percent and refuses broken escapes") {
  CHECK(url_decode("a+b%20c%2B") == "a b c+");
  CHECK_FALSE(url_decode("%4"));
  CHECK_FALSE(url_decode("%g0"));
  CHECK_FALSE(parse_query("a=%"));
}

TEST_CASE("times are RFC 3339 both ways") {
  CHECK(format_time(1'767'323'045'678) == "2026-01-02T03:04:05.678Z");
  CHECK(parse_time("2026-01-02T03:04:05.678Z") == 1'767'323'045'678);
  CHECK(parse_time("2026-01-02T03:04:05Z") == 1'767'323'045'000);
  CHECK(parse_time("2026-01-02T05:04:05.6789+02:00") == 1'767'323'045'678);
  for (const char* bad : {"", "2026-01-02", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05",
                          "2026-01-02T03:04:05.Z", "x026-01-02T03:04:05Z"})
    CHECK_FALSE(parse_time(bad));
}

TEST_CASE("times long ago and long from now survive their text, or are refused") {
  // Found by the fuzz target http_edges.
  for (const char* text : {"0001-01-01T00:00:00.000Z", "0000-01-01T00:00:00.000Z",
                           "1969-12-31T23:59:59.001Z", "9999-12-31T23:59:59.999Z"}) {
    auto t = parse_time(text);
    REQUIRE(t);
    CHECK(format_time(*t) == text);
  }
  CHECK_FALSE(parse_time("9999-12-31T23:59:59-14:00"));
  CHECK_FALSE(parse_time("0000-01-01T00:00:00+14:00"));
}

TEST_CASE("a page token survives the way out and back, and garbage is refused") {
  for (bool ascending : {false, true}) {
    auto token = parse_token(format_token({1234, "iabc", ascending}));
    REQUIRE(token);
    CHECK(token->started_at_ms == 1234);
    CHECK(token->sandbox_id == "iabc");
    CHECK(token->ascending == ascending);
  }
  for (const char* bad : {"", "x", "12", "12__", "x__iabc", "12__i/c"})
    CHECK_FALSE(parse_token(bad));
}

TEST_CASE("a create request becomes an order") {
  auto order = parse_create(
      R"({"templateID":"Base","timeout":120,"metadata":{"a":"b c"},"envVars":{"X":"1"},"secure":true,
          "network":{"rules":{"API.x.com":[{"transform":{"headers":{"x-api-key":"K"}},"paths":["/v1/"]}]}}})",
      300'000, {{"api.x.com", "http://127.0.0.1:9"}});
  REQUIRE(order);
  CHECK(order->template_id == "base");
  CHECK(order->timeout_ms == 120'000);
  CHECK(order->metadata == string_map{{"a", "b c"}});
  CHECK(order->env_vars == string_map{{"X", "1"}});
  REQUIRE(order->network.rules.size() == 1);
  CHECK(order->network.rules[0].domain == "api.x.com");
  CHECK(order->network.rules[0].headers == string_map{{"x-api-key", "K"}});
  CHECK(order->network.rules[0].paths == std::vector<std::string>{"/v1/"});
  CHECK(order->network.rules[0].upstream == "http://127.0.0.1:9");

  auto plain = parse_create(R"({"templateID":"base"})", 300'000, {});
  REQUIRE(plain);
  CHECK(plain->timeout_ms == 300'000);
}

TEST_CASE("create requests that cannot be honoured are refused, not ignored") {
  struct row {
    const char* body;
    errc code;
  };
  for (
      const auto& [body, code] : std::vector<row>{
          {"", errc::bad_argument},
          {"[]", errc::bad_argument},
          {"{}", errc::bad_argument},
          {R"({"templateID":7})", errc::bad_argument},
          {R"({"templateID":"../x y"})", errc::bad_argument},
          {R"({"templateID":"base","timeout":0})", errc::bad_argument},
          {R"({"templateID":"base","timeout":86401})", errc::bad_argument},
          {R"({"templateID":"base","timeout":"1"})", errc::bad_argument},
          {R"({"templateID":"base","metadata":{"a":1}})", errc::bad_argument},
          {R"({"templateID":"base","envVars":{"A=B":"1"}})", errc::bad_argument},
          {R"({"templateID":"base","network":{"rules":{"a b":[]}}})", errc::bad_argument},
          {R"({"templateID":"base","network":{"rules":{"a.b":[{"transform":{"headers":{"x":"a\nb"}}}]}}})",
           errc::bad_argument},
          {R"({"templateID":"base","autoPause":true,"autoPauseMemory":false})", errc::refused},
          {R"({"templateID":"base","autoPause":1})", errc::bad_argument},
          {R"({"templateID":"base","autoResume":true})", errc::bad_argument},
          {R"({"templateID":"base","network":{"allowOut":["a.b"]}})", errc::bad_argument},
          {R"({"templateID":"base","network":{"allowOut":["*"],"denyOut":["0.0.0.0/0"]}})",
           errc::bad_argument},
          {R"({"templateID":"base","network":{"egressProxy":{"address":"a:1"}}})", errc::refused},
          {R"({"templateID":"base","volumeMounts":[{"name":"a","path":"/b"}]})", errc::refused}}) {
    auto r = parse_create(body, 1000, {});
    INFO(body);
    REQUIRE_FALSE(r);
    CHECK(r.err().code == code);
  }
}

TEST_CASE("an order survives the pipe to the holder") {
  sandbox_order x;
  x.state_dir = "/s";
  x.sandbox_id = "iabc";
  x.template_id = "base";
  x.metadata = {{"a", "b"}};
  x.env_vars = {{"K", "V\n\"'"}};
  x.access_token = "t";
  x.timeout_ms = 5;
  x.binds = {"/opt/x"};
  x.envd_path = "/e";
  x.traffic_token = "tt";
  x.auto_pause = x.auto_resume = true;
  x.limits = {2, 512, 100, 64};
  x.cgroups = {{"pids", "/sys/x"}};
  x.network = {
      {{"d.e", {{"h", "v"}}, {"/p"}, "http://u"}}, {"a.b", "1.2.3.4"}, {{"a.b", "http://v"}}};
  x.prices = {{"m", "1,2,3,4"}};
  auto back = order_from_json(dump(to_json(x)));
  REQUIRE(back);
  CHECK(dump(to_json(*back)) == dump(to_json(x)));
  CHECK_FALSE(order_from_json("{}"));
  CHECK_FALSE(order_from_json("garbage"));
}

TEST_CASE("a lease ends when set to nothing, is extended only forward, and knows its cap") {
  auto x = lease::start(60'000);
  REQUIRE(x);
  auto end = x->end_at_ms();
  CHECK(end - x->started_at_ms() >= 59'000);
  REQUIRE(x->extend(1'000));
  CHECK(x->end_at_ms() == end);
  REQUIRE(x->extend(120'000));
  CHECK(x->end_at_ms() > end);
  REQUIRE(x->set(1'000));
  CHECK(x->end_at_ms() < end);
  REQUIRE(x->set(10 * max_lifetime_ms));
  CHECK(x->end_at_ms() - x->started_at_ms() <= max_lifetime_ms + 1'000);
  CHECK_FALSE(x->ended());
  REQUIRE(x->set(-5));
  pollfd p{x->descriptor(), POLLIN, 0};
  CHECK(::poll(&p, 1, 5'000) == 1);
  CHECK(x->ended());
}

TEST_CASE("what a sandbox prints costs the holder no more than so many short lines") {
  history h;
  json fields = json::object();
  for (int i = 0; i < 200; ++i)
    fields["f" + std::to_string(i)] = "";
  auto greedy = json{{"message", "m"}, {"fields", fields}}.dump() + "\n";
  for (int i = 0; i < 3000; ++i)
    h.add_output(greedy, 1);
  h.add_output(std::string(100'000, 'x'), 2); // no end of line at all
  h.add_output(R"({"message":"good","level":"warn","fields":{"a":"b"}})"
               "\n",
               3);
  auto logs = h.logs();
  CHECK(logs.size() == 2000);
  for (const auto& line : logs) {
    if (line["fields"].size() > 32 || line["message"].get<std::string>().size() > 4096)
      FAIL_CHECK(line.dump().substr(0, 200));
  }
  CHECK(logs.back()
        == json{{"ts_ms", 3}, {"level", "warn"}, {"message", "good"}, {"fields", {{"a", "b"}}}});
}

TEST_CASE(
    "whatever a sandbox prints, an answer of its holder has room for all that is remembered") {
  history h;
  const auto wild = std::string(4096, '\x01') + "\n"; // a control character takes six letters
  for (int i = 0; i < 2000; ++i)
    h.add_output(wild, i);
  auto logs = h.logs();
  CHECK(dump(json{{"ok", true}, {"logs", logs}}).size() < max_order_bytes);
  CHECK(logs.size() > 50);
  CHECK(logs.back()["ts_ms"] == 1999);
}
