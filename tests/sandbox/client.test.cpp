#include "sandbox/client.hpp"
#include "messages/json.hpp"
#include "sandbox/envelope.hpp"
#include "tests/sandbox/await.hpp"
#include "tests/sandbox/script_server.hpp"

#include <fstream>
#include <iterator>

using namespace skep;
using namespace skep::sandbox;
using namespace std::chrono_literals;

namespace {

using peer = script_server::peer;
using request = script_server::request;

const remote box{"ibox1", "tok-1", ""};
const std::string key = "e2b_00aa";

/// A server, an engine and a client that know each other.
struct fixture {
  explicit fixture(script_server::handler h, policy limits = quick())
      : server(std::move(h)), engine(std::make_shared<http_engine>()),
        api(engine, {"test", server.url(), server.url(), "", key}, limits) {}

  /// Short waits where a test makes something wait.
  static policy quick() {
    policy p;
    p.retry_backoff = 20ms;
    return p;
  }

  script_server server;
  std::shared_ptr<http_engine> engine;
  client api;
};

void gone(peer& p) {
  p.answer(502, R"({"sandboxId":"ibox1","message":"The sandbox was not found","code":502})");
}

std::string start_event(int pid) {
  return make_envelope("{\"event\":{\"start\":{\"pid\":" + std::to_string(pid) + "}}}");
}
std::string data_event(std::string_view bytes, const char* name = "stdout") {
  return make_envelope(std::string{"{\"event\":{\"data\":{\""} + name + "\":\""
                       + base64_encode(bytes) + "\"}}}");
}
std::string end_event(int code) {
  auto more = code ? "\"exitCode\":" + std::to_string(code) + "," : std::string{};
  return make_envelope("{\"event\":{\"end\":{" + more + "\"exited\":true,\"status\":\"exit status "
                       + std::to_string(code) + "\"}}}");
}
std::string last(std::string_view payload = "{}") {
  auto out = make_envelope(payload);
  out[0] = 2;
  return out;
}

/// A whole stream as one body.
void stream(peer& p, std::string_view body) {
  p.begin_chunks(200, {"Content-Type: application/connect+json"});
  p.chunk(body);
  p.end_chunks();
}

command argv(std::vector<std::string> words) {
  command c;
  c.argv = std::move(words);
  return c;
}

struct scratch {
  scratch() {
    std::string name = std::filesystem::temp_directory_path() / "skep-client-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  ~scratch() { std::filesystem::remove_all(path); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{path}, {}));
  }
  std::filesystem::path path;
};

std::string content_of(const std::filesystem::path& p) {
  std::ifstream in{p, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace

// -- control API
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

TEST_CASE("a get is tried twice when the network fails, a refusal is not") {
  std::atomic<int> n{0};
  fixture f{[&](peer& p, const request& r) {
    if (r.target == "/sandboxes/bad") return void(p.answer(400, R"({"code":400,"message":"x"})"));
    if (++n == 1) return void(p.answer(503, "not now"));
    p.answer(200, R"({"sandboxID":"i1","state":"running","envdAccessToken":"t2"})");
  }};
  auto r = await<sandbox::detail>([&](auto then) { f.api.get("i1", then); });
  REQUIRE(r);
  CHECK(r->address.access_token == "t2");
  CHECK(n == 2);
  CHECK(await<sandbox::detail>([&](auto then) { f.api.get("bad", then); }).err().code
        == errc::refused);
  CHECK(f.server.requests().size() == 3);
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

// -- deadlines, cancel, end
// ------------------------------------------------------------------------

TEST_CASE("every operation against a hung server ends at its deadline, named, while others work") {
  policy p;
  for (auto& x : p.limits)
    x.deadline = 120ms;
  p.command_grace = 30ms;
  fixture f{[](peer& p2, const request& r) {
              if (r.target == "/sandboxes/alive")
                p2.answer(200, R"({"sandboxID":"alive"})");
              else
                p2.wait_closed();
            },
            p};
  scratch dir;
  std::ofstream{dir.path / "up"} << "x";
  watched<std::map<std::string, errc>> ended;
  std::atomic<int> started{0};
  auto expect = [&](operation op) {
    ++started;
    return [&, op](auto r) {
      ended.change([&](auto& m) {
        m[std::string{to_string(op)}] = r.ok() ? errc::none : r.err().code;
        if (!r.ok() && r.err().step != to_string(op)) m["step"] = errc::internal;
        if (!r.ok() && r.err().message.find("120 ms") == std::string::npos
            && r.err().message.find("`x`") == std::string::npos)
          m["limit of " + std::string{to_string(op)}] = errc::internal;
      });
    };
  };
  const auto begin = std::chrono::steady_clock::now();
  auto& a = f.api;
  a.create({}, expect(operation::create));
  a.list({}, expect(operation::list));
  a.get("i1", expect(operation::get));
  a.kill("i1", expect(operation::kill));
  a.set_timeout("i1", 9s, expect(operation::set_timeout));
  a.set_network("i1", {}, expect(operation::set_network));
  a.run(box, argv({"x"}), expect(operation::run));
  a.start_background(box, argv({"x"}), expect(operation::start_background));
  stream_handlers h;
  h.on_end = expect(operation::open_stream);
  a.open_stream(box, argv({"x"}), h);
  a.send_input(box, 1, "x", false, expect(operation::send_input));
  a.close_stdin(box, 1, expect(operation::close_stdin));
  a.send_signal(box, 1, signal::kill, expect(operation::send_signal));
  a.resize_pty(box, 1, {}, expect(operation::resize_pty));
  a.list_processes(box, expect(operation::list_processes));
  a.upload_file(box, dir.path / "up", "/x", {}, expect(operation::upload_file));
  a.write_file(box, "/x", "x", {}, expect(operation::write_file));
  a.read_file(box, "/x", 0, 0, {}, expect(operation::read_file));
  a.download_file(box, "/x", dir.path / "down", 9, {}, expect(operation::download_file));
  a.stat(box, "/x", {}, expect(operation::stat));
  a.list_dir(box, "/x", 1, {}, expect(operation::list_dir));
  a.make_dir(box, "/x", {}, expect(operation::make_dir));
  a.move(box, "/x", "/y", {}, expect(operation::move));
  a.remove(box, "/x", {}, expect(operation::remove));
  a.health(box, expect(operation::health));
  CHECK(started == operation_count);
  CHECK(await<sandbox::detail>(
      [&](auto then) { a.get("alive", then); })); // nobody waits for the hung ones
  CHECK(ended.until([](auto& m) { return m.size() >= operation_count; }));
  CHECK(std::chrono::steady_clock::now() - begin < 1150ms);
  for (auto& [name, code] : ended.get()) {
    CAPTURE(name);
    CHECK(code == errc::timed_out);
  }
  CHECK(dir.entries() == 1);
}

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

// -- processes
// -------------------------------------------------------------------------------------

TEST_CASE("run collects output and exit of a command, sent as argv with the routing headers") {
  fixture f{[](peer& p, const request&) {
    stream(p, start_event(7) + data_event("hi\n") + make_envelope(R"({"event":{"keepalive":{}}})")
                  + data_event(std::string("\xff\0x", 3), "stderr") + end_event(3) + last());
  }};
  auto c = argv({"/bin/x", "a b"});
  c.user = "root";
  c.limit = 5s;
  auto r = await<command_result>([&](auto then) { f.api.run(box, c, then); });
  REQUIRE(r);
  CHECK(r->exit_code == 3);
  CHECK(r->exited);
  CHECK(r->stdout_data == "hi\n");
  CHECK(r->stderr_data == std::string("\xff\0x", 3));
  auto seen = f.server.requests().at(0);
  CHECK(seen.target == "/process.Process/Start");
  CHECK(seen.header("content-type") == "application/connect+json");
  CHECK(seen.header("connect-protocol-version") == "1");
  CHECK(seen.header("connect-timeout-ms") == "5000");
  CHECK(seen.header("keepalive-ping-interval") == "50");
  CHECK(seen.header("e2b-sandbox-id") == "ibox1");
  CHECK(seen.header("e2b-sandbox-port") == "49983");
  CHECK(seen.header("x-access-token") == "tok-1");
  CHECK(seen.header("authorization") == "Basic cm9vdDo=");
  CHECK(seen.header("x-api-key").empty());
  envelope_reader reader;
  reader.feed(seen.body);
  auto body = json::parse(reader.next()->payload);
  CHECK(body["process"]["cmd"] == "/bin/x");
  CHECK(body["process"]["args"] == json::array({"a b"}));
}

TEST_CASE("a stream may be cut at every byte") {
  const auto body = start_event(7) + data_event("\xc3\xa9") + end_event(0) + last();
  std::atomic<std::size_t> cut{0};
  fixture f{[&](peer& p, const request&) {
    p.begin_chunks(200, {"Content-Type: application/connect+json"});
    if (cut == body.size()) { // every byte a chunk of its own
      for (char c : body)
        p.chunk({&c, 1});
    } else {
      if (cut > 0) p.chunk(body.substr(0, cut));
      p.chunk(body.substr(cut));
    }
    p.end_chunks();
  }};
  for (std::size_t i = 0; i <= body.size(); ++i) {
    cut = i;
    auto r = await<command_result>([&](auto then) { f.api.run(box, argv({"x"}), then); });
    REQUIRE(r);
    REQUIRE(r->stdout_data == "\xc3\xa9");
  }
  CHECK(f.server.connections() == 1); // streams that end well leave their connection for the next
}

TEST_CASE("what can be wrong with a stream is told apart") {
  struct row {
    const char* name;
    std::function<void(peer&)> play;
    errc code;
  };
  const std::vector<row> rows{
      {"no end of stream", [](peer& p) { stream(p, start_event(1) + end_event(0)); },
       errc::protocol},
      {"no end event", [](peer& p) { stream(p, start_event(1) + last()); }, errc::protocol},
      {"empty end of stream", [](peer& p) { stream(p, start_event(1) + end_event(0) + last("")); },
       errc::protocol},
      {"garbage", [](peer& p) { stream(p, "<html>hello</html>"); }, errc::protocol},
      {"garbage event", [](peer& p) { stream(p, make_envelope("{]")); }, errc::protocol},
      {"compressed", [](peer& p) { stream(p, std::string("\x01\0\0\0\0", 5)); }, errc::protocol},
      {"nothing", [](peer& p) { stream(p, last().substr(0, 3)); }, errc::protocol},
      {"bad cwd",
       [](peer& p) { stream(p, last(R"({"error":{"code":"invalid_argument","message":"cwd"}})")); },
       errc::refused},
      {"envd's deadline",
       [](peer& p) {
         stream(p, start_event(1) + last(R"({"error":{"code":"deadline_exceeded"}})"));
       },
       errc::timed_out},
      {"unavailable", [](peer& p) { stream(p, last(R"({"error":{"code":"unavailable"}})")); },
       errc::network},
      {"dropped",
       [](peer& p) {
         p.begin_chunks(200, {});
         p.chunk(start_event(1));
         p.close();
       },
       errc::network},
      {"gone", [](peer& p) { gone(p); }, errc::gone},
      {"another 502", [](peer& p) { p.answer(502, "<html>Bad Gateway</html>"); }, errc::network},
      {"no such path", [](peer& p) { p.answer(404, "404 page not found"); }, errc::protocol},
  };
  std::size_t at = 0;
  fixture f{[&](peer& p, const request&) { rows[at].play(p); }};
  for (; at < rows.size(); ++at) {
    CAPTURE(rows[at].name);
    auto r = await<command_result>([&](auto then) { f.api.run(box, argv({"x"}), then); });
    REQUIRE_FALSE(r);
    CHECK(r.err().code == rows[at].code);
    CHECK(r.err().step == "run");
  }
}

TEST_CASE("a command past its limit is named in the error, and envd was told the limit") {
  policy limits = fixture::quick();
  limits.command_grace = 50ms;
  fixture f{[](peer& p, const request&) {
              p.begin_chunks(200, {});
              p.chunk(start_event(1));
              p.wait_closed();
            },
            limits};
  auto c = argv({"apt-get", "install", std::string(200, 'y')});
  c.limit = 100ms;
  auto r = await<command_result>([&](auto then) { f.api.run(box, c, then); });
  CHECK(r.err().code == errc::timed_out);
  CHECK(r.err().message.find("`apt-get install yyyy") != std::string::npos);
  CHECK(r.err().message.find("within 100 ms") != std::string::npos);
  CHECK(r.err().message.find(std::string(101, 'y')) == std::string::npos);
  CHECK(f.server.requests()[0].header("connect-timeout-ms") == "100");
}

TEST_CASE("output above the cap is dropped and said") {
  policy limits = fixture::quick();
  limits.output_cap_bytes = 5;
  fixture f{[](peer& p, const request&) {
              stream(p, start_event(1) + data_event("abc") + data_event("defg") + data_event("h")
                            + data_event("12345", "stderr") + end_event(0) + last());
            },
            limits};
  auto r = await<command_result>([&](auto then) { f.api.run(box, argv({"x"}), then); });
  REQUIRE(r);
  CHECK(r->stdout_data == "abcde");
  CHECK(r->stdout_truncated);
  CHECK(r->stderr_data == "12345");
  CHECK_FALSE(r->stderr_truncated);
}

TEST_CASE("stdin_data is sent in order after the start, then stdin is closed") {
  watched<std::string> input;
  watched<bool> closed{false};
  fixture f{[&](peer& p, const request& r) {
    if (r.target == "/process.Process/Start") {
      p.begin_chunks(200, {});
      p.chunk(start_event(42));
      closed.until([](bool x) { return x; });
      p.chunk(end_event(0) + last());
      p.end_chunks();
      return;
    }
    auto j = json::parse(r.body);
    if (j["process"]["pid"] != 42) return void(p.answer(404, R"({"code":"not_found"})"));
    if (r.target == "/process.Process/SendInput") {
      std::string bytes;
      base64_decode(j["input"]["stdin"].get<std::string>(), bytes);
      input.change([&](std::string& s) { s += bytes; });
    } else if (r.target == "/process.Process/CloseStdin") {
      closed.change([](bool& x) { x = true; });
    }
    p.answer(200, "{}");
  }};
  auto c = argv({"cat"});
  for (int i = 0; i < 100'000; ++i)
    c.stdin_data += std::to_string(i);
  auto r = await<command_result>([&](auto then) { f.api.run(box, c, then); });
  CHECK(r);
  CHECK(input.get() == c.stdin_data);
  CHECK(closed.get());
}

TEST_CASE("a process that ends before it reads its input is a result") {
  fixture f{[&](peer& p, const request& r) {
    if (r.target == "/process.Process/Start")
      return stream(p, start_event(1) + end_event(9) + last());
    p.answer(404, R"({"code":"not_found","message":"process with pid 1 not found"})");
  }};
  auto c = argv({"false"});
  c.stdin_data = "x";
  auto r = await<command_result>([&](auto then) { f.api.run(box, c, then); });
  REQUIRE(r);
  CHECK(r->exit_code == 9);
}

TEST_CASE("a background process is let go of at its start, without a limit") {
  watched<bool> closed{false};
  fixture f{[&](peer& p, const request&) {
    p.begin_chunks(200, {});
    p.chunk(start_event(77));
    p.wait_closed();
    closed.change([](bool& x) { x = true; });
  }};
  auto r = await<std::uint32_t>([&](auto then) { f.api.start_background(box, argv({"d"}), then); });
  REQUIRE(r);
  CHECK(*r == 77);
  CHECK(closed.until([](bool x) { return x; }));
  CHECK(f.server.requests()[0].header("connect-timeout-ms").empty());
}

TEST_CASE("a paused stream stops the network and loses nothing") {
  const int events = 300;
  const std::string piece(8000, 'x');
  watched<std::size_t> stalled_at{0};
  std::size_t total = 0;
  fixture f{[&](peer& p, const request&) {
    std::string body = start_event(5);
    for (int i = 0; i < events; ++i)
      body += data_event(piece + std::to_string(i));
    body += end_event(0) + last();
    total = body.size();
    p.send("HTTP/1.1 200 x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
    auto sent = p.send_until_stalled(body, 300);
    stalled_at.change([&](std::size_t& n) { n = sent; });
    p.send(std::string_view{body}.substr(sent));
  }};
  watched<std::string> order;
  std::promise<result<command_result>> end;
  std::atomic<int> calls{0};
  std::string tail;
  stream_handlers h;
  h.on_start = [&](std::uint32_t pid) { order.change([&](auto& s) { s += std::to_string(pid); }); };
  h.on_stdout = [&](std::string_view bytes) {
    tail = bytes.substr(piece.size());
    return ++calls > 1; // the first one pauses
  };
  h.on_end = [&](auto r) { end.set_value(std::move(r)); };
  auto id = f.api.open_stream(box, argv({"x"}), h);
  REQUIRE(stalled_at.until([](std::size_t n) { return n > 0; }));
  CAPTURE(stalled_at.get());
  CHECK(stalled_at.get() < total / 2);
  CHECK(calls == 1);
  CHECK(order.get() == "5");
  f.api.resume(id);
  auto r = value_of(end.get_future());
  REQUIRE(r);
  CHECK(calls == events);
  CHECK(tail == std::to_string(events - 1));
}

TEST_CASE("a stream that ended while it was paused still gives everything in order") {
  fixture f{[](peer& p, const request&) {
    stream(p, start_event(1) + data_event("a") + data_event("b") + data_event("c", "stderr")
                  + end_event(0) + last());
  }};
  std::string seen;
  watched<int> paused{0};
  std::promise<result<command_result>> end;
  stream_handlers h;
  auto take = [&](std::string_view x) {
    seen += x;
    paused.change([](int& n) { ++n; });
    return false; // every time
  };
  h.on_stdout = h.on_stderr = take;
  h.on_end = [&](auto r) { end.set_value(std::move(r)); };
  auto id = f.api.open_stream(box, argv({"x"}), h);
  for (int n = 1; n <= 3; ++n) {
    REQUIRE(paused.until([&](int x) { return x >= n; }));
    f.api.resume(id);
  }
  CHECK(value_of(end.get_future()));
  CHECK(seen == "abc");
}

TEST_CASE("a silent stream is dead after the idle limit") {
  policy limits = fixture::quick();
  limits.stream_idle = 120ms;
  fixture f{[](peer& p, const request&) {
              p.begin_chunks(200, {});
              p.chunk(start_event(1));
              p.wait_closed();
            },
            limits};
  std::promise<result<command_result>> end;
  stream_handlers h;
  h.on_end = [&](auto r) { end.set_value(std::move(r)); };
  f.api.open_stream(box, argv({"x"}), h);
  auto r = value_of(end.get_future());
  CHECK(r.err().code == errc::timed_out);
  CHECK(r.err().message.find("silent for 120 ms") != std::string::npos);
}

TEST_CASE("input, signals, terminal size and the process list use the protocol's words") {
  fixture f{[](peer& p, const request& r) {
    if (r.target.ends_with("/List"))
      p.answer(200, R"({"processes":[{"config":{"cmd":"a"},"pid":3}]})");
    else if (r.body.find("\"pid\":404") != std::string::npos)
      p.answer(404, R"({"code":"not_found","message":"process with pid 404 not found"})");
    else
      p.answer(200, "{}");
  }};
  CHECK(await<void>([&](auto t) { f.api.send_input(box, 3, "hello\n", false, t); }));
  CHECK(await<void>([&](auto t) { f.api.send_input(box, 3, "echo x\n", true, t); }));
  CHECK(await<void>([&](auto t) { f.api.send_signal(box, 3, signal::terminate, t); }));
  CHECK(await<void>([&](auto t) { f.api.resize_pty(box, 3, {100, 30}, t); }));
  CHECK(await<void>([&](auto t) { f.api.send_signal(box, 404, signal::kill, t); }).err().code
        == errc::not_found);
  CHECK(await<std::vector<process_info>>([&](auto t) { f.api.list_processes(box, t); })->size()
        == 1);
  auto seen = f.server.requests();
  CHECK(seen[0].body == R"({"process":{"pid":3},"input":{"stdin":"aGVsbG8K"}})");
  CHECK(seen[1].body == R"({"process":{"pid":3},"input":{"pty":"ZWNobyB4Cg=="}})");
  CHECK(seen[2].body == R"({"process":{"pid":3},"signal":"SIGNAL_SIGTERM"})");
  CHECK(seen[3].body == R"({"process":{"pid":3},"pty":{"size":{"cols":100,"rows":30}}})");
  CHECK(seen[4].body == R"({"process":{"pid":404},"signal":"SIGNAL_SIGKILL"})");
  CHECK(seen[0].header("content-type") == "application/json");
}

TEST_CASE("after a resume the new token is fetched once and used from then on") {
  std::atomic<int> gets{0};
  fixture f{[&](peer& p, const request& r) {
    if (r.target == "/sandboxes/ibox1") {
      ++gets;
      return void(p.answer(200, R"({"sandboxID":"ibox1","envdAccessToken":"tok-2"})"));
    }
    if (r.header("x-access-token") != "tok-2")
      return void(p.answer(401, R"({"code":401,"message":"unauthorized tok-1"})"));
    if (r.target == "/process.Process/Start")
      return stream(p, start_event(1) + end_event(0) + last());
    p.answer(200, R"({"entry":{"name":"x","path":"/x"}})");
  }};
  CHECK(await<entry>([&](auto t) { f.api.stat(box, "/x", {}, t); }));
  CHECK(await<entry>([&](auto t) { f.api.stat(box, "/x", {}, t); }));
  CHECK(await<command_result>([&](auto t) { f.api.run(box, argv({"x"}), t); }));
  CHECK(gets == 1);
  // A token that is simply wrong: one fetch, then the refusal, without the token in it.
  const remote wrong{"ibox1", "tok-0", ""};
  CHECK(await<entry>([&](auto t) { f.api.stat(wrong, "/x", {}, t); }));
  CHECK(gets == 2);
}

TEST_CASE("a refused token that is the present one stays refused") {
  fixture f{[](peer& p, const request& r) {
    if (r.target == "/sandboxes/ibox1")
      p.answer(200, R"({"sandboxID":"ibox1","envdAccessToken":"tok-1"})");
    else
      p.answer(401, R"({"code":401,"message":"bad token tok-1"})");
  }};
  auto r = await<command_result>([&](auto t) { f.api.run(box, argv({"x"}), t); });
  CHECK(r.err().code == errc::auth);
  CHECK(r.err().cause == "bad token [token]");
  CHECK(f.server.requests().size() == 2);
}

// -- files
// -----------------------------------------------------------------------------------------

TEST_CASE("a local file is uploaded byte by byte to an encoded path") {
  scratch dir;
  std::string content;
  for (int i = 0; i < 700'000; ++i)
    content.push_back(static_cast<char>(i * 7));
  std::ofstream{dir.path / "up", std::ios::binary} << content;
  std::atomic<bool> same{false};
  fixture f{[&](peer& p, const request& r) {
    same = r.body == content;
    p.answer(200, R"([{"path":"/home/user/a b","name":"a b","type":"file"}])", {});
  }};
  call_options as;
  as.user = "root";
  CHECK(await<void>(
      [&](auto t) { f.api.upload_file(box, dir.path / "up", "/home/user/a b", as, t); }));
  CHECK(same);
  auto seen = f.server.requests().at(0);
  CHECK(seen.target == "/files?path=%2Fhome%2Fuser%2Fa%20b&username=root");
  CHECK(seen.header("content-type") == "application/octet-stream");
  CHECK(seen.header("expect").empty());
  auto none = await<void>([&](auto t) { f.api.upload_file(box, dir.path / "no", "/x", {}, t); });
  CHECK(none.err().code == errc::file_not_found);
  CHECK(await<void>([&](auto t) { f.api.write_file(box, "", "x", {}, t); }).err().code
        == errc::bad_argument);
  CHECK(await<void>([&](auto t) { f.api.write_file(box, std::string("/a\0b", 4), "x", {}, t); })
            .err()
            .code
        == errc::bad_argument);
}

TEST_CASE("an upload answered with nonsense is a protocol error") {
  fixture f{[](peer& p, const request&) { p.answer(200, "[]"); }};
  CHECK(await<void>([&](auto t) { f.api.write_file(box, "/x", "y", {}, t); }).err().code
        == errc::protocol);
}

TEST_CASE("ranges of a file are read, also at, past and without its end") {
  const std::string file = "0123456789";
  std::atomic<bool> ranges{true};
  fixture f{[&](peer& p, const request& r) {
    if (r.target.find("none") != std::string::npos)
      return void(p.answer(404, R"({"code":404,"message":"path '/none' does not exist"})"));
    std::size_t from = 0, to = 0;
    std::sscanf(r.header("range").c_str(), "bytes=%zu-%zu", &from, &to);
    if (!ranges) return void(p.answer(200, file, {}));
    if (from >= file.size()) return void(p.answer(416, "", {"Content-Range: bytes */10"}));
    to = std::min(to, file.size() - 1);
    p.answer(206, file.substr(from, to - from + 1),
             {"Content-Range: bytes " + std::to_string(from) + "-" + std::to_string(to) + "/10"});
  }};
  auto read = [&](std::uint64_t offset, std::uint64_t length) {
    auto r = await<file_piece>([&](auto t) { f.api.read_file(box, "/f", offset, length, {}, t); });
    REQUIRE(r);
    CHECK(r->size_bytes == 10);
    return r->data;
  };
  for (bool with : {true, false}) {
    ranges = with;
    CHECK(read(0, 4) == "0123");
    CHECK(read(8, 100) == "89");
    CHECK(read(3, 0) == "3456789");
    CHECK(read(10, 5).empty());
    CHECK(read(99, 5).empty());
  }
  CHECK(await<file_piece>([&](auto t) { f.api.read_file(box, "/none", 0, 1, {}, t); }).err().code
        == errc::file_not_found);
}

TEST_CASE("a download appears whole under its name or not at all") {
  scratch dir;
  std::string content(300'000, 'd');
  fixture f{[&](peer& p, const request& r) {
    if (r.target.find("cut") != std::string::npos) {
      p.send("HTTP/1.1 200 x\r\nContent-Length: 500000\r\n\r\n" + content);
      return p.close();
    }
    if (r.target.find("none") != std::string::npos)
      return void(p.answer(404, R"({"code":404,"message":"no"})"));
    p.answer(200, r.target.find("empty") != std::string::npos ? "" : content, {});
  }};
  auto load = [&](const char* from, std::uint64_t cap) {
    return await<std::uint64_t>(
        [&](auto t) { f.api.download_file(box, from, dir.path / "down", cap, {}, t); });
  };
  CHECK(load("/cut", 1U << 20U).err().code == errc::network);
  CHECK(dir.entries() == 0);
  CHECK(load("/big", 1000).err().code == errc::too_large);
  CHECK(dir.entries() == 0);
  CHECK(load("/none", 1000).err().code == errc::file_not_found);
  CHECK(dir.entries() == 0);
  CHECK(*load("/whole", 1U << 20U) == content.size());
  CHECK(content_of(dir.path / "down") == content);
  CHECK(*load("/empty", 1U << 20U) == 0);
  CHECK(content_of(dir.path / "down").empty());
  CHECK(dir.entries() == 1);
  auto nowhere = await<std::uint64_t>(
      [&](auto t) { f.api.download_file(box, "/whole", dir.path / "no" / "x", 1U << 20U, {}, t); });
  CHECK(nowhere.err().code == errc::io);
}

TEST_CASE("directory calls use the protocol's words and errors") {
  fixture f{[](peer& p, const request& r) {
    auto method = r.target.substr(r.target.rfind('/') + 1);
    auto j = json::parse(r.body);
    if (j.value("path", "") == "/none")
      return void(p.answer(404, R"({"code":"not_found","message":"file not found"})"));
    if (method == "ListDir")
      p.answer(200, R"({"entries":[{"name":"a","path":"/d/a","type":"FILE_TYPE_DIRECTORY"}]})");
    else if (method == "Remove")
      p.answer(200, "{}");
    else if (method == "MakeDir" && j["path"] == "/there")
      p.answer(409, R"({"code":"already_exists","message":"directory already exists"})");
    else
      p.answer(200, R"({"entry":{"name":"x","path":"/x","type":"FILE_TYPE_FILE","size":"5"}})");
  }};
  CHECK(await<entry>([&](auto t) { f.api.stat(box, "/x", {}, t); })->size_bytes == 5);
  CHECK(await<entry>([&](auto t) { f.api.stat(box, "/none", {}, t); }).err().code
        == errc::file_not_found);
  CHECK(await<std::vector<entry>>([&](auto t) { f.api.list_dir(box, "/d", 1, {}, t); })->at(0).type
        == entry_type::directory);
  CHECK(await<void>([&](auto t) { f.api.make_dir(box, "/new", {}, t); }));
  CHECK(await<void>([&](auto t) { f.api.make_dir(box, "/there", {}, t); }).err().code
        == errc::exists);
  CHECK(await<void>([&](auto t) { f.api.move(box, "/a", "/b", {}, t); }));
  CHECK(await<void>([&](auto t) { f.api.remove(box, "/a", {}, t); }));
  auto seen = f.server.requests();
  CHECK(seen[2].body == R"({"depth":1,"path":"/d"})");
  CHECK(seen[5].body == R"({"destination":"/b","source":"/a"})");
}

TEST_CASE("health: alive, gone, or a bad gateway in between") {
  std::atomic<int> n{0};
  fixture f{[&](peer& p, const request&) {
    if (++n == 1) return void(p.answer(204));
    if (n == 2) return gone(p);
    p.answer(502, "bad gateway");
  }};
  auto health = [&] { return await<void>([&](auto t) { f.api.health(box, t); }); };
  CHECK(health());
  CHECK(health().err().code == errc::gone);
  CHECK(health().err().code == errc::network);
}

TEST_CASE("200 sandboxes stream at once beside short calls") {
  watched<int> open{0};
  watched<bool> finish{false};
  fixture f{[&](peer& p, const request& r) {
    if (r.target != "/process.Process/Start") return void(p.answer(204));
    p.begin_chunks(200, {});
    p.chunk(start_event(1));
    open.change([](int& x) { ++x; });
    finish.until([](bool x) { return x; });
    p.chunk(data_event("bye") + end_event(0) + last());
    p.end_chunks();
  }};
  watched<int> ended{0};
  std::atomic<int> words{0};
  for (int i = 0; i < 200; ++i) {
    stream_handlers h;
    h.on_stdout = [&](std::string_view x) { return words += static_cast<int>(x.size()), true; };
    h.on_end = [&](auto r) { ended.change([&](int& x) { x += r.ok(); }); };
    f.api.open_stream({"i" + std::to_string(i), "", ""}, argv({"follow"}), h);
  }
  REQUIRE(open.until([](int x) { return x == 200; }));
  CHECK(await<void>([&](auto t) { f.api.health(box, t); }));
  finish.change([](bool& x) { x = true; });
  CHECK(ended.until([](int x) { return x == 200; }));
  CHECK(words == 600);
}
