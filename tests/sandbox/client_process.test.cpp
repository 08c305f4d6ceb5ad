// Processes: streams, commands, input, tokens.
#include "tests/sandbox/client_fixture.hpp"

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

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
  // Streams that end well leave their connection for the next, unless that one begins before the
  // last byte has come.
  CHECK(f.server.connections() < 20);
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

TEST_CASE("a command in an error is masked before it is cut, and cut between two characters") {
  policy limits = fixture::quick();
  limits.command_grace = 10ms;
  fixture f{[](peer& p, const request&) {
              p.begin_chunks(200, {});
              p.chunk(start_event(1));
              p.wait_closed();
            },
            limits};
  auto shown = [&](std::vector<std::string> words) {
    auto c = argv(std::move(words));
    c.limit = 10ms;
    auto r = await<command_result>([&](auto then) { f.api.run(box, c, then); });
    REQUIRE_FALSE(r);
    auto text = r.err().message;
    auto begin = text.find('`') + 1;
    return text.substr(begin, text.find("`: ") - begin);
  };
  // The cut at 100 bytes would leave the key's beginning, which no mask knows.
  const std::string secret = "e2b_0123456789abcdef0123456789abcdef01234567";
  auto told = shown({"curl", std::string(80, 'x'), secret});
  CHECK(told.find("e2b_") == std::string::npos);
  CHECK(told.starts_with("curl xxxx"));
  CHECK(told.size() <= 100);
  CHECK(shown({std::string(99, 'a') + "\u00e9\u00e9"}) == std::string(99, 'a'));
  CHECK(shown({std::string(98, 'a') + "\u00e9\u00e9"}) == std::string(98, 'a') + "\u00e9");
}

TEST_CASE("a process that the sandbox has no room for is not the provider's quota") {
  fixture f{[](peer& p, const request& r) {
    const auto* why = R"({"code":"resource_exhausted","message":"fork: try again"})";
    if (r.target.ends_with("/Start"))
      stream(p, last(std::string{R"({"error":)"} + why + "}"));
    else
      p.answer(429, why);
  }};
  auto run = await<command_result>([&](auto then) { f.api.run(box, argv({"x"}), then); });
  auto list = await<std::vector<process_info>>([&](auto t) { f.api.list_processes(box, t); });
  for (const auto& why : {run.err(), list.err()}) {
    CHECK(why.code == errc::remote_command_failed);
    CHECK(why.message.find("out of something") != std::string::npos);
    CHECK(why.cause.find("fork: try again") != std::string::npos);
  }
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
