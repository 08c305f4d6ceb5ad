#include "sandbox/http_engine.hpp"
#include "tests/sandbox/client_fixture.hpp"

#include <cstdlib>
#include <fstream>
#include <random>

using namespace skep;
using namespace skep::sandbox;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

http_request get(const std::string& url, milliseconds whole = 10s) {
  return {"GET", url, http_limits::within(whole)};
}

std::string random_bytes(std::size_t size) {
  std::mt19937 random{7};
  std::string out(size, '\0');
  for (auto& c : out)
    c = static_cast<char>(random());
  return out;
}

auto elapsed_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::steady_clock::now() - t;
}

} // namespace

TEST_CASE("an answer arrives whole, with its status and headers in lower case") {
  script_server server{[](auto& peer, auto& r) {
    peer.answer(200, "body of " + r.target, {"X-Next-Token: abc", "X-Two: a", "X-Two: b"});
  }};
  http_engine engine;
  auto a = fetch(engine, get(server.url() + "/x?y=1"));
  CHECK_FALSE(a.failure);
  CHECK(a.status == 200);
  CHECK(a.body == "body of /x?y=1");
  CHECK(a.headers["x-next-token"] == "abc");
  CHECK(a.headers["x-two"] == "a, b");
}

TEST_CASE("a hung server costs the deadline and not more") {
  script_server server{[](auto& peer, auto&) { peer.wait_closed(); }};
  http_engine engine;
  auto start = std::chrono::steady_clock::now();
  auto a = fetch(engine, get(server.url(), 150ms));
  CHECK(a.failure.code == errc::timed_out);
  CHECK(a.failure.message.find("150 ms") != std::string::npos);
  CHECK(elapsed_since(start) >= 150ms);
  CHECK(elapsed_since(start) < 1150ms);
}

TEST_CASE("a server that stalls inside the head or the body costs the deadline too") {
  auto cut = GENERATE(std::string{"HTTP/1.1 20"}, std::string{"HTTP/1.1 200 x\r\nA: b\r\n"},
                      std::string{"HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nab"});
  script_server server{[&](auto& peer, auto&) {
    peer.send(cut);
    peer.wait_closed();
  }};
  http_engine engine;
  CHECK(fetch(engine, get(server.url(), 100ms)).failure.code == errc::timed_out);
}

TEST_CASE("failures of the network and nonsense are told apart") {
  http_engine engine;
  SECTION("nobody listens") {
    std::string url;
    {
      url = script_server{[](auto&, auto&) {}}.url();
    }
    CHECK(fetch(engine, get(url)).failure.code == errc::network);
  }
  SECTION("the connection closes without an answer") {
    script_server server{[](auto& peer, auto&) { peer.close(); }};
    CHECK(fetch(engine, get(server.url())).failure.code == errc::network);
  }
  SECTION("the body is cut short") {
    script_server server{[](auto& peer, auto&) {
      peer.send("HTTP/1.1 200 x\r\nContent-Length: 50\r\n\r\nabc");
      peer.close();
    }};
    CHECK(fetch(engine, get(server.url())).failure.code == errc::network);
  }
  SECTION("the answer is not HTTP") {
    script_server server{[](auto& peer, auto&) {
      peer.send("SSH-2.0-OpenSSH_9.2\r\n");
      peer.close();
    }};
    CHECK(fetch(engine, get(server.url())).failure.code == errc::protocol);
  }
  SECTION("TLS where none is spoken") {
    script_server server{[](auto& peer, auto&) { peer.close(); }};
    auto url = server.url();
    auto request = get("https" + url.substr(4), 500ms);
    auto code = fetch(engine, request).failure.code;
    CHECK((code == errc::network || code == errc::timed_out));
  }
  SECTION("not a URL, another protocol, a header with a newline") {
    CHECK(fetch(engine, get("http://")).failure.code == errc::bad_argument);
    CHECK(fetch(engine, get("file:///etc/hostname")).failure);
    auto request = get("http://127.0.0.1:1/");
    request.headers.emplace_back("X-A: b\r\nX-C: d");
    CHECK(fetch(engine, request).failure.code == errc::bad_argument);
  }
}

TEST_CASE("redirects are not followed and proxies of the environment not used for loopback",
          "[owasp-a10]") {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  script_server server{
      [](auto& peer, auto&) { peer.answer(302, "", {"Location: http://127.0.0.1:1/"}); }};
  http_engine engine;
  auto a = fetch(engine, get(server.url()));
  ::unsetenv("http_proxy");
  CHECK_FALSE(a.failure);
  CHECK(a.status == 302);
}

TEST_CASE("connections are used again") {
  script_server server{[](auto& peer, auto&) { peer.answer(200, "ok"); }};
  http_engine engine;
  for (int i = 0; i < 30; ++i)
    REQUIRE(fetch(engine, get(server.url())).body == "ok");
  CHECK(server.connections() == 1);
  CHECK(engine.stats().connections_opened == 1);
}

TEST_CASE("300 requests at once take at most 200 connections, the rest wait in order") {
  watched<int> inside{0};
  std::atomic<int> peak{0};
  script_server server{[&](auto& peer, auto&) {
    inside.change([&](int& n) { peak = std::max<int>(peak, ++n); });
    inside.until([&](int) { return peak >= 200; }); // all of the first 200 are in before any ends
    inside.change([](int& n) { --n; });
    peer.answer(200, "ok");
  }};
  http_engine engine;
  watched<int> finished{0};
  for (int i = 0; i < 300; ++i) {
    http_handlers h;
    h.on_done = [&](http_answer a) {
      if (a.body == "ok") finished.change([](int& n) { ++n; });
    };
    engine.submit(get(server.url() + "/" + std::to_string(i)), h);
  }
  CHECK(finished.until([](int n) { return n == 300; }));
  CHECK(peak == 200);
  CHECK(server.connections() <= 200);
  CHECK(engine.stats().peak_in_flight == 200);
  CHECK(engine.stats().in_flight == 0);
  CHECK(engine.stats().queued == 0);
}

TEST_CASE("waiting in the queue counts against the deadline") {
  script_server server{[](auto& peer, auto&) { peer.wait_closed(); }};
  engine_options options;
  options.requests_in_flight = 1;
  http_engine engine{options};
  http_handlers ignore;
  ignore.on_done = [](http_answer) {};
  engine.submit(get(server.url(), 10s), ignore);
  CHECK(fetch(engine, get(server.url(), 100ms)).failure.code == errc::timed_out);
  CHECK(engine.stats().queued == 0);
}

TEST_CASE("a cancelled request is done once, and its connection closed") {
  watched<bool> arrived{false}, closed{false};
  script_server server{[&](auto& peer, auto&) {
    arrived.change([](bool& x) { x = true; });
    peer.wait_closed();
    closed.change([](bool& x) { x = true; });
  }};
  http_engine engine;
  std::promise<errc> code;
  std::atomic<int> calls{0};
  http_handlers h;
  h.on_done = [&](http_answer a) {
    if (++calls == 1) code.set_value(a.failure.code);
  };
  auto id = engine.submit(get(server.url()), h);
  REQUIRE(arrived.until([](bool x) { return x; }));
  engine.cancel(id);
  engine.cancel(id);
  CHECK(value_of(code.get_future()) == errc::cancelled);
  CHECK(closed.until([](bool x) { return x; }));
  CHECK(calls == 1);
}

TEST_CASE("the end of the engine ends requests in flight and queued, each once") {
  script_server server{[](auto& peer, auto&) { peer.wait_closed(); }};
  std::atomic<int> cancelled{0}, others{0}, late{0};
  {
    engine_options options;
    options.requests_in_flight = 5;
    http_engine engine{options};
    for (int i = 0; i < 20; ++i) {
      http_handlers h;
      h.on_done = [&](http_answer a) {
        ++(a.failure.code == errc::cancelled ? cancelled : others);
        http_handlers again; // a callback that asks for more at the very end hears of it too
        again.on_done = [&](http_answer b) { late += b.failure.code == errc::cancelled; };
        engine.submit(get(server.url()), again);
      };
      engine.submit(get(server.url()), h);
    }
  }
  CHECK(cancelled == 20);
  CHECK(others == 0);
  CHECK(late == 20);
}

TEST_CASE("a file is sent as it is, with its length") {
  sandbox::test::scratch dir;
  auto content = random_bytes(5'000'000);
  auto path = dir.path / "data";
  std::ofstream{path, std::ios::binary} << content;
  script_server server{[](auto& peer, auto& r) {
    peer.answer(200, std::to_string(std::hash<std::string>{}(r.body)));
  }};
  http_engine engine;
  http_request request{"POST", server.url(), http_limits::within(10s)};
  request.body_file = path;
  CHECK(fetch(engine, request).body == std::to_string(std::hash<std::string>{}(content)));
  auto seen = server.requests().at(0);
  CHECK(seen.header("content-length") == "5000000");
  CHECK(seen.header("expect").empty());

  request.body_file = dir.path / "none";
  CHECK(fetch(engine, request).failure.code == errc::file_not_found);
  request.body_file = dir.path;
  CHECK(fetch(engine, request).failure.code == errc::bad_argument);
}

TEST_CASE("an empty POST and other methods arrive as such") {
  script_server server{[](auto& peer, auto& r) { peer.answer(200, r.method); }};
  http_engine engine;
  for (std::string method : {"GET", "POST", "PUT", "DELETE"})
    CHECK(fetch(engine, {method, server.url(), http_limits::within(5s)}).body == method);
  CHECK(server.requests()[1].header("content-length") == "0");
}

TEST_CASE("an answer above its cap is refused") {
  script_server server{[](auto& peer, auto&) { peer.answer(200, std::string(100'000, 'x')); }};
  http_engine engine;
  auto request = get(server.url());
  request.body_cap_bytes = 1000;
  CHECK(fetch(engine, request).failure.code == errc::too_large);
}

TEST_CASE("of an error answer at most 64 KiB are kept and on_data sees nothing") {
  script_server server{[](auto& peer, auto&) { peer.answer(500, std::string(300'000, 'x')); }};
  http_engine engine;
  int calls = 0;
  auto a = fetch(engine, get(server.url()), [&](std::string_view) {
    ++calls;
    return flow::go_on;
  });
  CHECK(a.status == 500);
  CHECK(a.body.size() == 65536);
  CHECK(calls == 0);
}

TEST_CASE("a paused answer stops reading from the network until it is resumed") {
  constexpr std::size_t total = 64U << 20U;
  watched<std::size_t> stalled_at{0};
  script_server server{[&](auto& peer, auto&) {
    std::string body(total, 'x');
    peer.send("HTTP/1.1 200 x\r\nContent-Length: " + std::to_string(total) + "\r\n\r\n");
    auto sent = peer.send_until_stalled(body, 300);
    stalled_at.change([&](std::size_t& n) { n = sent; });
    peer.send(std::string_view{body}.substr(sent));
  }};
  auto in = GENERATE(lane::request, lane::stream);
  http_engine engine;
  std::size_t received = 0;
  std::atomic<int> calls{0};
  std::promise<http_answer> promise;
  http_handlers h;
  h.on_data = [&](std::string_view bytes) {
    received += bytes.size();
    return ++calls == 1 ? flow::pause : flow::go_on;
  };
  h.on_done = [&](http_answer a) { promise.set_value(std::move(a)); };
  auto request = get(server.url(), 20s);
  request.in = in;
  auto id = engine.submit(request, h);
  REQUIRE(stalled_at.until([](std::size_t n) { return n > 0; }));
  CHECK(stalled_at.get() < total / 2); // what the sockets hold, no more
  CHECK(calls == 1);
  engine.resume(id);
  auto a = value_of(promise.get_future());
  CHECK_FALSE(a.failure);
  CHECK(received == total);
}

TEST_CASE("a paused answer can be cancelled, and has a deadline") {
  script_server server{[&](auto& peer, auto&) {
    peer.send("HTTP/1.1 200 x\r\nContent-Length: 9000\r\n\r\nabc");
    peer.wait_closed();
  }};
  http_engine engine;
  auto pause = [](std::string_view) { return flow::pause; };
  CHECK(fetch(engine, get(server.url(), 100ms), pause).failure.code == errc::timed_out);
  CHECK(fetch(engine, get(server.url(), 10s), [](std::string_view) { return flow::stop; })
            .failure.code
        == errc::cancelled);
}

TEST_CASE("a stream has a limit for its first byte and for silence, not for its length") {
  watched<bool> go_on{false};
  script_server server{[&](auto& peer, auto& r) {
    if (r.path() == "/silent") return peer.wait_closed();
    peer.begin_chunks(200, {});
    peer.chunk("a");
    if (r.path() == "/stops") return peer.wait_closed();
    go_on.until([](bool x) { return x; });
    peer.chunk("b");
    peer.end_chunks();
  }};
  http_engine engine;
  auto stream = [&](const char* path, milliseconds first, milliseconds idle) {
    http_request out{"GET", server.url() + path, http_limits::streaming(first, idle)};
    out.in = lane::stream;
    return out;
  };
  auto take = [](std::string_view) { return flow::go_on; };
  auto a = fetch(engine, stream("/silent", 100ms, 10s), take);
  CHECK(a.failure.code == errc::timed_out);
  CHECK(a.failure.message == "no answer within 100 ms");
  a = fetch(engine, stream("/stops", 10s, 100ms), take);
  CHECK(a.failure.code == errc::timed_out);
  CHECK(a.failure.message == "the stream was silent for 100 ms");

  // Paused for longer than the idle limit: no silence of the server.
  std::promise<http_answer> promise;
  std::string text;
  request_id id = 0;
  http_handlers h;
  h.on_data = [&](std::string_view bytes) {
    text += bytes;
    if (text != "a") return flow::go_on;
    engine.after(400ms, [&] {
      engine.resume(id);
      go_on.change([](bool& x) { x = true; });
    });
    return flow::pause;
  };
  h.on_done = [&](http_answer x) { promise.set_value(std::move(x)); };
  engine.post([&] { id = engine.submit(stream("/pauses", 10s, 200ms), h); });
  a = value_of(promise.get_future());
  CHECK_FALSE(a.failure);
  CHECK(text == "ab");
}

TEST_CASE("a request with `once` is not sent again when a reused connection dies under it") {
  std::atomic<int> seen{0};
  script_server server{[&](auto& peer, auto&) {
    if (++seen == 1)
      peer.answer(200, "first");
    else if (seen == 2)
      peer.close();
    else
      peer.answer(200, "again");
  }};
  http_engine engine;
  http_request request{"POST", server.url(), http_limits::within(10s)};
  request.body = "{}";
  SECTION("without: libcurl sends it on a new connection") {
    CHECK(fetch(engine, request).body == "first");
    CHECK(fetch(engine, request).body == "again");
    CHECK(seen == 3);
  }
  SECTION("with: the outcome is unknown and said to be") {
    request.once = true;
    CHECK(fetch(engine, request).body == "first");
    CHECK(fetch(engine, request).failure.code == errc::network);
    CHECK(seen == 2);
  }
}

TEST_CASE("work posted and delayed runs on the engine's thread") {
  http_engine engine;
  CHECK_FALSE(engine.on_engine_thread());
  std::promise<std::string> order;
  auto text = std::make_shared<std::string>();
  engine.after(60ms, [&, text] { order.set_value(*text + "c"); });
  engine.after(20ms, [text] { *text += "b"; });
  engine.post([&, text] { *text += engine.on_engine_thread() ? "a" : "?"; });
  CHECK(value_of(order.get_future()) == "abc");
}

TEST_CASE("many threads submit, cancel and resume at once") {
  script_server server{[](auto& peer, auto&) { peer.answer(200, "ok"); }};
  watched<int> finished{0};
  {
    http_engine engine;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) {
          http_handlers h;
          h.on_done = [&](http_answer) { finished.change([](int& n) { ++n; }); };
          auto id = engine.submit(get(server.url()), h);
          if (i % 3 == 0) engine.cancel(id);
          if (i % 5 == 0) engine.resume(id);
        }
      });
    for (auto& t : threads)
      t.join();
    CHECK(finished.until([](int n) { return n == 400; }));
  }
  CHECK(finished.get() == 400);
}
