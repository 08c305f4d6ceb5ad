// The relay alone: this test is the client on one side and envd on the other.
#include "host/relay.hpp"
#include "tests/envd/raw_http.hpp"
#include "tests/support/catch.hpp"

#include <thread>

using namespace skep;
using namespace skep::host;
using skep::test::raw_connection;

namespace {

/// One relay between two sockets of the test, on a thread of its own.
class relay_bench {
public:
  relay_bench() : client(open_client()), envd(open_envd()) {
    spawn(io_, run());
    thread_ = std::thread{[this] { io_.run(); }};
  }
  ~relay_bench() {
    client.close();
    envd.close();
    thread_.join();
  }
  /// Waits for the relay and returns how it ended.
  relay_end outcome() {
    thread_.join();
    thread_ = std::thread{[] {}};
    return outcome_;
  }

private:
  raw_connection open_client() {
    test::tcp_listener listener;
    auto out = raw_connection::to_port(listener.port());
    auto accepted = listener.accept();
    client_fd_ = ::dup(accepted.fd());
    return out;
  }
  raw_connection open_envd() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    envd_fd_ = ends[0];
    return raw_connection{ends[1]};
  }
  task<void> run() {
    client_connection c{beast::tcp_stream{tcp::socket{io_, tcp::v4(), client_fd_}}, {}};
    local_socket socket{io_, asio::local::stream_protocol{}, envd_fd_};
    request_reader reader;
    reader.body_limit(no_body_limit);
    co_await http::async_read_header(c.stream, c.buffer, reader, asio::use_awaitable);
    outcome_ = co_await relay(io_, c, reader, std::move(socket));
  }

  asio::io_context io_{1};
  int client_fd_ = -1, envd_fd_ = -1;
  relay_end outcome_ = relay_end::reusable;
  std::thread thread_;

public:
  raw_connection client, envd;
};

} // namespace

TEST_CASE("each piece passes at once, in both directions") {
  relay_bench b;
  b.client.send("POST /x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nX-A: 1\r\n"
                "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
  auto head = b.envd.read_header();
  CHECK(head.first_line == "POST /x HTTP/1.1");
  CHECK(head.headers["x-a"] == "1");
  CHECK(head.headers["connection"] == "close");
  CHECK(b.envd.next_piece() == "one");
  // The answer begins before the request has ended.
  b.envd.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n");
  CHECK(b.client.read_header().status == 200);
  CHECK(b.client.next_piece() == "two");
  b.client.send("5\r\nthree\r\n0\r\n\r\n");
  CHECK(b.envd.next_piece() == "three");
  CHECK_FALSE(b.envd.next_piece());
  b.envd.send("4\r\nfour\r\n0\r\n\r\n");
  CHECK(b.client.next_piece() == "four");
  CHECK_FALSE(b.client.next_piece());
}

TEST_CASE("an answer of unknown length is chunked for the client and ends well") {
  relay_bench b;
  b.client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  b.envd.read_header();
  b.envd.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
  b.envd.close();
  auto a = b.client.read_answer();
  CHECK(a.headers["transfer-encoding"] == "chunked");
  CHECK(a.body == "all of it");
  CHECK(b.outcome() == relay_end::reusable);
}

TEST_CASE("a client that goes away in the middle of an answer is noticed by envd at once") {
  relay_bench b;
  b.client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  b.envd.read_header();
  b.envd.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  b.client.read_header();
  CHECK(b.client.next_piece() == "a");
  b.client.close();
  CHECK(b.envd.at_end());
  CHECK(b.outcome() == relay_end::broken);
}

TEST_CASE(
    "a sandbox that ends in the middle breaks the answer off, one that says nothing gives none") {
  {
    relay_bench b;
    b.client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    b.envd.read_header();
    b.envd.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    b.envd.close();
    CHECK(b.client.read_header().status == 200);
    CHECK_THROWS([&] {
      while (b.client.next_piece()) {
      }
    }());
    CHECK(b.outcome() == relay_end::broken);
  }
  relay_bench b;
  b.client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  b.envd.read_header();
  b.envd.close();
  CHECK(b.outcome() == relay_end::no_answer);
}

TEST_CASE("an early answer to an upload is returned, and the connection is not used again") {
  relay_bench b;
  b.client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome");
  b.envd.read_header();
  b.envd.send("HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno");
  auto a = b.client.read_answer();
  CHECK(a.status == 401);
  CHECK(a.headers["connection"] == "close");
  CHECK(a.body == "no");
  CHECK(b.outcome() == relay_end::finished);
}

TEST_CASE("a client that does not read holds envd back") {
  relay_bench b;
  b.client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  b.envd.read_header();
  constexpr std::size_t much = 64u << 20;
  b.envd.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(much) + "\r\n\r\n");
  std::string piece(65536, 'x');
  std::size_t sent = 0;
  for (;;) {
    pollfd p{b.envd.fd(), POLLOUT, 0};
    if (::poll(&p, 1, 500) != 1) break; // no room any more
    auto n = ::send(b.envd.fd(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
    if (sent >= much) break;
  }
  CHECK(sent < much / 2);
}
