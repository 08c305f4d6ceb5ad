#include "messages/json.hpp"
#include "tests/gateway/gateway_fixture.hpp"
#include "tests/support/catch.hpp"

#include <algorithm>

using namespace skep;
using namespace skep::test;
using host::gateway_rule;

namespace {
const std::string real_key = "sk-real-0123456789";

gateway_rule rule_for(const tcp_listener& upstream) {
  return {"api.test",
          {{"x-api-key", real_key}},
          {"/v1/"},
          "http://127.0.0.1:" + std::to_string(upstream.port())};
}
const std::string plain_ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

void check_refused(const answer& a, int status) {
  CHECK(a.status == status);
  CHECK(a.headers.at("x-skep-gateway") == "1");
  auto body = json::parse(a.body);
  CHECK(body.at("type") == "error");
  CHECK(!body.at("error").at("message").get<std::string>().empty());
  CHECK(a.body.find(real_key) == std::string::npos);
}
} // namespace

TEST_CASE("the placeholder is swapped for the real key on the way out") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  c.send(
      "POST /api.test/v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:49984\r\n"
      "X-Api-Key: placeholder\r\nX-API-KEY: second\r\nAuthorization: Bearer placeholder\r\n"
      "anthropic-version: 2023-06-01\r\nAccept-Encoding: gzip\r\nConnection: keep-alive, x-drop\r\n"
      "X-Drop: 1\r\nTE: trailers\r\nProxy-Authorization: p\r\nContent-Length: 4\r\n\r\nbody");
  auto there = upstream.accept();
  auto seen = there.read_answer();
  CHECK(seen.first_line == "POST /v1/messages?beta=true HTTP/1.1");
  CHECK(seen.body == "body");
  CHECK(seen.headers
        == std::map<std::string, std::string>{
            {"host", "127.0.0.1:" + std::to_string(upstream.port())},
            {"anthropic-version", "2023-06-01"},
            {"x-api-key", real_key},
            {"content-length", "4"},
            {"connection", "close"}});
  there.send(
      "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nX-Up: 1\r\nKeep-Alive: timeout=5\r\n"
      "Content-Length: 4\r\nConnection: close, x-gone\r\nX-Gone: 1\r\n\r\ndone");
  auto a = c.read_answer();
  CHECK(a.first_line == "HTTP/1.1 201 Created");
  CHECK(a.body == "done");
  CHECK(a.headers
        == std::map<std::string, std::string>{
            {"content-type", "text/plain"}, {"x-up", "1"}, {"content-length", "4"}});
  auto n = g.counts();
  CHECK(n.requests == 1);
  CHECK(n.refused == 0);
  CHECK(n.bytes_in == 4);
  CHECK(n.bytes_out == 4);
}

TEST_CASE("a client's connection carries one request after another") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  for (int i = 0; i < 3; ++i) {
    c.send("GET /api.test/v1/models HTTP/1.1\r\nHost: x\r\n\r\n");
    auto there = upstream.accept();
    CHECK(there.read_answer().first_line == "GET /v1/models HTTP/1.1");
    there.send(plain_ok);
    CHECK(c.read_answer().body == "ok");
    c.send("GET /other.test/v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    check_refused(c.read_answer(), 403);
  }
}

TEST_CASE("an event reaches the client before the upstream has finished") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  c.send("POST /api.test/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  auto there = upstream.accept();
  there.read_answer();
  there.send(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  CHECK(c.read_header().headers.at("transfer-encoding") == "chunked");
  const std::string events[] = {
      "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,"
      "\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n",
      "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"usage\\\": "
      "nonsense\"}}\n\n",
      "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":42}}\n\n"};
  for (const auto& event : events) { // each is awaited before the next is sent
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", event.size());
    there.send(size + event + "\r\n");
    CHECK(c.next_piece() == event);
  }
  there.send("0\r\n\r\n");
  CHECK(!c.next_piece());
  auto n = g.counts();
  CHECK(n.input_tokens == 15);
  CHECK(n.output_tokens == 42);
}

TEST_CASE("bodies go up as they come, sized, chunked or after 100 Continue") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  c.send(
      "POST /api.test/v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  {
    auto there = upstream.accept();
    CHECK(there.read_header().headers.at("transfer-encoding") == "chunked");
    CHECK(there.next_piece() == "abc"); // before the client has sent the rest
    c.send("2\r\nde\r\n0\r\n\r\n");
    CHECK(there.next_piece() == "de");
    CHECK(!there.next_piece());
    there.send(plain_ok);
    CHECK(c.read_answer().body == "ok");
  }
  c.send("PUT /api.test/v1/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
         "2\r\n\r\n");
  auto there = upstream.accept();
  auto head = there.read_header();
  CHECK(!head.has("expect"));
  CHECK(c.take_through("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("hi");
  CHECK(there.take(2) == "hi");
  there.send("HTTP/1.1 100 Continue\r\n\r\n" + plain_ok);
  CHECK(c.read_answer().body == "ok");
}

TEST_CASE("a long answer arrives whole at a client that is slow to read it") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  c.send("GET /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n");
  std::string body(8'000'000, '\0');
  for (std::size_t i = 0; i < body.size(); ++i)
    body[i] = static_cast<char>(i * 2654435761U >> 24);
  std::thread feeding([&] {
    auto there = upstream.accept();
    there.read_answer();
    there.try_send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n"
                   + body);
  });
  auto a = c.read_answer();
  feeding.join();
  CHECK(a.body == body);
  CHECK(g.counts().bytes_out == body.size());
}

TEST_CASE("domains and paths that are not listed are refused without a word to the upstream") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  struct row {
    const char* target;
    int status;
  };
  const row rows[] = {
      {"/", 403},
      {"/other.test/v1/x", 403},
      {"/api.test.evil/v1/x", 403},
      {"/api.test:443/v1/x", 403},
      {"/api.test", 403},
      {"/api.test/", 403},
      {"/api.test/v2/x", 403},
      {"/api.test/v1", 403},
      {"/api.test//v1/x", 403},
      {"/api.test/v1/../admin", 400},
      {"/api.test/v1/%2e%2e/admin", 400},
      {"/api.test/v1/..;a=b/admin", 400},
      {"/api.test/v1/./x", 400},
      {"/api.test/v1%2fx", 400},
      {"/api.test/v1/%252e%252e/admin", 400},
      {"/api.test/v1/%5c../admin", 400},
      {"/api.test/v1\\x", 400},
      {"/api.test/v1/%00", 400},
      {"/api.test/v1/%0d%0aX:1", 400},
      {"/api.test/v1/%zz", 400},
      {"/api.test/v1/#x", 400},
      {"/%61pi.test/v1/x", 403},
      {"http://api.test/v1/x", 403},
      {"https://127.0.0.1/api.test/v1/x", 400},
      {"*", 400},
      {"api.test/v1/x", 400},
  };
  for (const auto& r : rows) {
    CAPTURE(r.target);
    check_refused(g.get(r.target), r.status);
  }
  CHECK(g.counts().requests == 0);
  CHECK(g.counts().refused == std::size(rows));
}

TEST_CASE("requests whose end is in doubt are refused and the connection is closed") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  const std::string post = "POST /api.test/v1/x HTTP/1.1\r\nHost: x\r\n";
  const std::string rows[] = {
      post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
      post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
      post + "Content-Length: -1\r\n\r\n",
      post + "Content-Length: 4, 4\r\n\r\nabcd",
      post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      post + "Transfer-Encoding: identity\r\n\r\n",
      post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      post + "Transfer-Encoding: xchunked\r\n\r\n",
      post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
      "POST /api.test/v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "CONNECT api.test HTTP/1.1\r\nHost: x\r\n\r\n",
      "TRACE /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
      "BREW /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET /api.test/v1/x\r\n\r\n",
      "GET /api.test/v1/x HTTP/2.0\r\n\r\n",
      "GET /api.test/v1/x y HTTP/1.1\r\n\r\n",
      "GET /api.test/v1/x HTTP/1.1\r\nBad Header: 1\r\n\r\n",
      "GET /api.test/v1/x HTTP/1.1\r\nA: " + std::string(70'000, 'a') + "\r\n\r\n",
  };
  for (const auto& text : rows) {
    CAPTURE(text.substr(0, 120));
    auto c = g.connect();
    c.try_send(text);
    ::shutdown(c.fd(), SHUT_WR);
    auto a = c.read_answer();
    CHECK((a.status == 400 || a.status == 405));
    CHECK(a.headers.at("connection") == "close");
    CHECK(a.headers.at("x-skep-gateway") == "1");
    CHECK(c.at_end());
  }
  CHECK(g.counts().requests == 0);
}

TEST_CASE("an answer before the end of the request closes the connection") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  c.send("POST /api.test/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart");
  auto there = upstream.accept();
  there.read_header();
  CHECK(there.take(4) == "part");
  there.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
  CHECK(c.read_answer().status == 413);
  CHECK(c.at_end());
}

TEST_CASE("private addresses are refused unless the operator named the place", "[owasp-a10]") {
  running_gateway g({{"localhost", {{"x-api-key", real_key}}, {}, ""},
                     {"127.0.0.1", {{"x-api-key", real_key}}, {}, ""},
                     {"169.254.169.254", {}, {}, ""}});
  check_refused(g.get("/localhost/v1/x"), 403);
  check_refused(g.get("/127.0.0.1/v1/x"), 403);
  check_refused(g.get("/169.254.169.254/latest/meta-data/"), 403);
  CHECK(g.counts().requests == 0);
}

TEST_CASE("a failing upstream is a 502 that says no secret") {
  int closed_port = 0;
  { closed_port = tcp_listener{}.port(); }
  tcp_listener upstream;
  auto dead = rule_for(upstream);
  dead.domain = "dead.test";
  dead.upstream_override = "http://127.0.0.1:" + std::to_string(closed_port);
  running_gateway g({rule_for(upstream), dead});
  check_refused(g.get("/dead.test/v1/x"), 502);
  for (const char* reply :
       {"", "garbage\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 20"}) {
    CAPTURE(reply);
    auto c = g.connect();
    c.send("GET /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n");
    auto there = upstream.accept();
    there.read_answer();
    there.send(reply);
    there.close();
    check_refused(c.read_answer(), 502);
  }
}

TEST_CASE("an answer that is cut short does not look complete") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  c.send("GET /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n");
  {
    auto there = upstream.accept();
    there.read_answer();
    there.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  }
  c.read_header();
  CHECK(c.next_piece() == "abc");
  CHECK(c.at_end()); // closed without a last chunk
}

TEST_CASE("a client that goes away takes its request with it") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  c.send("GET /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n");
  auto there = upstream.accept();
  there.read_answer();
  c.close();
  CHECK(there.at_end());
}

TEST_CASE("a silent upstream is given up at the deadline") {
  tcp_listener upstream;
  host::gateway_policy policy;
  policy.idle = std::chrono::milliseconds{100};
  running_gateway g({rule_for(upstream)}, policy);
  check_refused(g.get("/api.test/v1/x"), 504); // connected by the kernel, never answered
}

TEST_CASE("a refused request whose rest never comes is closed at the deadline") {
  tcp_listener upstream;
  host::gateway_policy policy;
  policy.idle = std::chrono::milliseconds{300};
  running_gateway g({rule_for(upstream)}, policy);
  auto c = g.connect();
  c.send("POST /evil.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf");
  CHECK(c.read_answer().status == 403);
  CHECK(c.at_end());
}

TEST_CASE("clients above the limit are closed at once", "[owasp-a04]") {
  tcp_listener upstream;
  host::gateway_policy policy;
  policy.connections = 1;
  running_gateway g({rule_for(upstream)}, policy);
  auto first = g.connect();
  first.send("GET /none/ HTTP/1.1\r\nHost: x\r\n\r\n");
  check_refused(first.read_answer(), 403);
  auto second = g.connect();
  CHECK(second.at_end());
}

TEST_CASE("a JSON answer's usage is counted, a compressed one is not") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  for (const char* encoding : {"", "Content-Encoding: gzip\r\n"}) {
    c.send("GET /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n");
    auto there = upstream.accept();
    there.read_answer();
    std::string body = R"({"usage":{"prompt_tokens":7,"completion_tokens":3}})";
    there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + std::string{encoding}
               + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    CHECK(c.read_answer().body == body);
  }
  auto n = g.counts();
  CHECK(n.input_tokens == 7);
  CHECK(n.output_tokens == 3);
}

TEST_CASE("answers without a body, or ended by closing, are passed on as such") {
  tcp_listener upstream;
  running_gateway g({rule_for(upstream)});
  auto c = g.connect();
  auto ask = [&](const char* method, const std::string& reply) {
    c.send(std::string{method} + " /api.test/v1/x HTTP/1.1\r\nHost: x\r\n\r\n");
    auto there = upstream.accept();
    there.read_answer();
    there.send(reply);
    there.close();
    return c.read_answer(std::string_view{method} == "HEAD");
  };
  CHECK(ask("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").headers.at("content-length")
        == "5");
  CHECK(ask("DELETE", "HTTP/1.1 204 No Content\r\n\r\n").status == 204);
  CHECK(ask("GET", "HTTP/1.1 304 Not Modified\r\n\r\n").status == 304);
  auto until_close = ask("GET", "HTTP/1.1 200 OK\r\n\r\nall of it");
  CHECK(until_close.headers.at("transfer-encoding") == "chunked");
  CHECK(until_close.body == "all of it");
}

TEST_CASE("a malformed rule is refused without telling its key") {
  boost::asio::io_context io;
  temp_dir dir;
  const gateway_rule rows[] = {
      {"Upper.test", {}, {}, ""},
      {"", {}, {}, ""},
      {"a/b", {}, {}, ""},
      {"a.test", {{"x-api-key", real_key + "\r\nX: 1"}}, {}, ""},
      {"a.test", {{"bad name", real_key}}, {}, ""},
      {"a.test", {{"Host", real_key}}, {}, ""},
      {"a.test", {{"Transfer-Encoding", real_key}}, {}, ""},
      {"a.test", {}, {"v1"}, ""},
      {"a.test", {}, {"/v1/../x"}, ""},
      {"a.test", {}, {}, "ftp://x"},
      {"a.test", {}, {}, "http://"},
      {"a.test", {}, {}, "http://user@x"},
      {"a.test", {}, {}, "http://x:port"},
  };
  for (const auto& r : rows) {
    int unused = ::dup(0);
    try {
      host::gateway g(io, unused, {{r}, {}});
      FAIL("accepted: " << r.domain);
    } catch (const std::invalid_argument& e) {
      CHECK(std::string{e.what()}.find(real_key) == std::string::npos);
    }
    ::close(unused);
  }
}
