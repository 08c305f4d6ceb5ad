#include "sandbox/wire.hpp"

#include "messages/json.hpp"
#include "tests/support/catch.hpp"

#include <random>

using namespace skep;
using namespace skep::sandbox;

namespace {

using unordered = nlohmann::json; // The order of the names does not count here.

std::int64_t unix_ms(std::string_view text) {
  auto t = wire::read_time(text);
  REQUIRE(t);
  return std::chrono::duration_cast<std::chrono::milliseconds>(t->time_since_epoch()).count();
}

template <class T>
T event_of(std::string_view payload) {
  auto e = wire::read_process_event(payload);
  REQUIRE(e);
  REQUIRE(std::holds_alternative<T>(*e));
  return std::get<T>(*e);
}

} // namespace

TEST_CASE("create asks for what was given, by the protocol's names") {
  create_params p;
  p.template_name = "t";
  p.lease = std::chrono::seconds{120};
  p.metadata["skep.install"] = "x";
  p.env["A"] = "b";
  p.network.inject["api.example.com"]["x-api-key"] = "secret";
  p.network.allow_out = {"api.example.com"};
  auto j = unordered::parse(*wire::create_body(p));
  CHECK(j == unordered::parse(R"({"templateID":"t","timeout":120,"secure":true,"autoPause":false,
    "allow_internet_access":false,"metadata":{"skep.install":"x"},"envVars":{"A":"b"},
    "network":{"allowOut":["api.example.com"],"denyOut":["0.0.0.0/0"],
      "rules":{"api.example.com":[{"transform":{"headers":{"x-api-key":"secret"}}}]}}})"));
  p.metadata["bad"] = "\xff";
  CHECK(wire::create_body(p).err().code == errc::bad_argument);
}

TEST_CASE("start sends argv as program and arguments, never as a shell line", "[owasp-a03]") {
  command c;
  c.argv = {"/bin/echo", "a b", "$(reboot)", ""};
  auto plain = R"j({"process":{"cmd":"/bin/echo","args":["a b","$(reboot)",""]},"stdin":false})j";
  CHECK(unordered::parse(*wire::start_body(c)) == unordered::parse(plain));
  c.stdin_data = "x";
  c.cwd = "/tmp";
  c.env["K"] = "v";
  c.tag = "t";
  auto full = R"j({"process":{"cmd":"/bin/echo","args":["a b","$(reboot)",""],"cwd":"/tmp",
    "envs":{"K":"v"}},"stdin":true,"tag":"t"})j";
  CHECK(unordered::parse(*wire::start_body(c)) == unordered::parse(full));
  c.pty = command::terminal{100, 30};
  auto j = unordered::parse(*wire::start_body(c));
  CHECK(j["pty"] == unordered::parse(R"({"size":{"cols":100,"rows":30}})"));
  CHECK_FALSE(j.contains("stdin"));
}

TEST_CASE("the metadata filter is encoded as the official SDK does") {
  list_filter f;
  f.metadata["k y"] = "a&b=c d";
  CHECK(wire::list_query(f, {})
        == "?limit=100&state=running,paused&metadata=k%252520y%3Da%252526b%25253Dc%252520d");
  f.paused = false;
  f.metadata.clear();
  CHECK(wire::list_query(f, "a/b=") == "?limit=100&state=running&nextToken=a%2Fb%3D");
}

TEST_CASE("times are read with and without fractions and offsets") {
  CHECK(unix_ms("1970-01-01T00:00:01Z") == 1000);
  CHECK(unix_ms("2026-01-02T03:04:05.678Z") == 1767323045678);
  CHECK(unix_ms("2026-01-02T03:04:05.678901234Z") == 1767323045678);
  CHECK(unix_ms("2026-01-02T04:04:05+01:00") == 1767323045000);
  CHECK(unix_ms("2026-01-02T02:34:05-00:30") == 1767323045000);
  for (auto bad :
       {"", "2026", "2026-13-01T00:00:00Z", "2026-01-02T03:04:05", "2026-01-02T25:00:00Z",
        "2026-01-02T03:04:05Zx", "2026-02-30T00:00:00Z", "2026-01-02T03:04:05+9:00"})
    CHECK_FALSE(wire::read_time(bad));
}

TEST_CASE("times beyond what nanoseconds can tell are far in the past or the future") {
  // Found by the fuzz target json_bodies.
  const auto now = std::chrono::system_clock::now();
  for (auto past : {"0001-01-01T00:00:00Z", "1012-11-02T10:00:00Z", "1899-12-31T23:59:59.9Z"}) {
    CHECK(unix_ms(past) == -2208988800000);
    CHECK(now - *wire::read_time(past) > std::chrono::hours{24 * 365 * 100});
  }
  CHECK(unix_ms("1900-01-01T00:00:01Z") == -2208988799000);
  for (auto future : {"2191-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00"}) {
    CHECK(unix_ms(future) == 6974035200000);
    CHECK(*wire::read_time(future) - now > std::chrono::hours{24 * 365 * 100});
  }
  CHECK_FALSE(wire::read_time("0001-13-01T00:00:00Z"));
}

TEST_CASE("absent fields take their defaults, wrong types do not pass") {
  auto c = wire::read_created(R"({"sandboxID":"i1","envdVersion":"0.6.13","domain":null})");
  REQUIRE(c);
  CHECK(c->address.remote_id == "i1");
  CHECK(c->address.access_token.empty());
  for (auto bad : {"", "[]", "{}", R"({"sandboxID":7})", R"({"sandboxID":"../x"})",
                   R"({"sandboxID":"i1","envdAccessToken":[]})"})
    CHECK(wire::read_created(bad).err().code == errc::protocol);

  auto d = wire::read_detail(R"({"sandboxID":"i1","state":"paused","metadata":{"a":"b"},
    "startedAt":"2026-01-02T03:04:05Z","endAt":"2026-01-02T03:06:05Z","envdAccessToken":"t"})");
  REQUIRE(d);
  CHECK(d->state == remote_state::paused);
  CHECK(d->metadata.at("a") == "b");
  CHECK(d->end_at - d->started_at == std::chrono::minutes{2});
  CHECK(d->address.access_token == "t");
  CHECK_FALSE(wire::read_detail(R"({"sandboxID":"i1","state":"melting"})"));

  CHECK(wire::read_list("[]")->empty());
  CHECK_FALSE(wire::read_list("{}"));
  CHECK_FALSE(wire::read_list(R"([{"sandboxID":"i1","metadata":{"a":1}}])"));
  CHECK(wire::read_processes("{}")->empty());
  auto ps = wire::read_processes(
      R"({"processes":[{"config":{"cmd":"/bin/sh","args":["-c","x"]},"pid":7,"tag":"t"}]})");
  REQUIRE(ps);
  CHECK(ps->at(0).argv == std::vector<std::string>{"/bin/sh", "-c", "x"});
  CHECK(wire::read_entries("{}")->empty());
  auto e = wire::read_entry(
      R"({"entry":{"name":"a","path":"/a","type":"FILE_TYPE_FILE","size":"12","mode":420}})");
  REQUIRE(e);
  CHECK(e->size_bytes == 12);
  CHECK(e->mode == 0644);
  CHECK(e->type == entry_type::file);
  CHECK(wire::read_entry(R"({"entry":{"size":13,"type":2}})")->type == entry_type::directory);
  CHECK_FALSE(wire::read_entry(R"({"entry":{"size":"-1"}})"));
  CHECK_FALSE(wire::read_entry("{}"));
  CHECK(wire::read_content_range("bytes 0-9/100") == 100U);
  CHECK(wire::read_content_range("bytes */7") == 7U);
  CHECK_FALSE(wire::read_content_range("bytes 0-9/*"));
}

TEST_CASE("process events: defaults, base64 of any bytes, unknown ones ignored") {
  CHECK(event_of<wire::started>(R"({"event":{"start":{"pid":19692}}})").pid == 19692);
  CHECK(event_of<wire::output>(R"({ "event": { "data": { "stdout": "aGkK" } } })").data == "hi\n");
  auto err = event_of<wire::output>(R"({"event":{"data":{"stderr":"/wA="}}})");
  CHECK(err.is_stderr);
  CHECK(err.data == std::string("\xff\0", 2));
  CHECK(event_of<wire::output>(R"({"event":{"data":{"pty":"_w"}}})").data == "\xff");
  auto end =
      event_of<wire::ended>(R"({"event":{"end":{"exited":true,"status":"exit status 0"}}})").how;
  CHECK(end.exit_code == 0);
  CHECK(end.exited);
  end = event_of<wire::ended>(R"({"event":{"end":{"exitCode":-1,"status":"signal: killed"}}})").how;
  CHECK(end.exit_code == -1);
  CHECK_FALSE(end.exited);
  event_of<wire::keepalive>(R"({"event":{"keepalive":{}}})");
  event_of<wire::keepalive>(R"({"event":{"tomorrow":{}}})");
  event_of<wire::keepalive>("{}");
  for (auto bad : {"", "x", "[]", R"({"event":7})", R"({"event":{"data":{"stdout":"*"}}})",
                   R"({"event":{"data":{"stdout":7}}})", R"({"event":{"start":{"pid":-1}}})",
                   R"({"event":{"end":{"exitCode":99999999999}}})"})
    CHECK(wire::read_process_event(bad).err().code == errc::protocol);
}

TEST_CASE("the end of a stream is its verdict") {
  CHECK(wire::read_end_of_stream("{}"));
  CHECK(wire::read_end_of_stream(R"({"metadata":{"a":["b"]}})"));
  auto e = wire::read_end_of_stream(
      R"({"error":{"code":"deadline_exceeded","message":"context deadline exceeded"}})");
  CHECK(e.err().code == errc::timed_out);
  CHECK(wire::read_end_of_stream("").err().code == errc::protocol);
  CHECK(wire::read_end_of_stream(R"({"error":"x"})").err().code == errc::protocol);
}

TEST_CASE("damaged JSON never breaks a reader") {
  const std::vector<std::string> seeds{
      R"({"event":{"data":{"stdout":"aGkK"}}})",
      R"({"event":{"end":{"exitCode":3,"exited":true}}})",
      R"({"sandboxID":"i1","state":"paused","metadata":{"a":"b"},"startedAt":"2026-01-02T03:04:05Z"})",
      R"([{"sandboxID":"i1"}])",
      R"({"entries":[{"size":"12","mode":420}]})",
      R"({"processes":[{"config":{"cmd":"/bin/sh","args":["-c"]},"pid":7}]})"};
  std::mt19937 random{1};
  for (int i = 0; i < 4'000; ++i) {
    auto text = seeds[random() % seeds.size()];
    for (auto n = random() % 4; n > 0; --n) {
      auto at = random() % (text.size() + 1);
      switch (random() % 3) {
      case 0:
        text.insert(at, 1, "{}[]\",:0-\\x\xff"[random() % 12]);
        break;
      case 1:
        text.erase(at, random() % 4);
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(random());
      }
    }
    (void)wire::read_process_event(text);
    (void)wire::read_end_of_stream(text);
    (void)wire::read_created(text);
    (void)wire::read_detail(text);
    (void)wire::read_list(text);
    (void)wire::read_processes(text);
    (void)wire::read_entry(text);
    (void)wire::read_entries(text);
    (void)wire::read_uploaded(text);
  }
  (void)wire::read_list(std::string(100'000, '['));
}
