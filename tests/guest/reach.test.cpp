// skep-guest reach against servers of this machine.
#include "guest/reach.hpp"

#include "tests/guest/guest.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>

using namespace skep;
using namespace skep::test;

namespace reach_cases {
namespace {

constexpr std::string_view not_there = "HTTP/1.0 404 Not Found\r\nContent-Length: 4\r\n\r\nnone";
constexpr std::string_view no_token = "HTTP/1.0 401 Unauthorized\r\n\r\n";

std::string ok(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// Listens on a port of its own at 127.0.0.1. Each connection is read until the end of a request
/// (or, with `any`, its first bytes), answered by a function, and closed.
class server {
public:
  using answerer = std::function<std::string(const std::string& request)>;

  explicit server(answerer say, bool any = false) : say_(std::move(say)), any_(any) {
    listen();
    thread_ = std::thread{[this] { serve(); }};
  }
  ~server() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  server(const server&) = delete;
  std::string at(const std::string& path = {}) const {
    return "127.0.0.1@" + std::to_string(port_) + path;
  }
  /// All requests so far; only once no connection is open any more.
  const std::vector<std::string>& requests() const { return requests_; }

private:
  void listen() {
    socket_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    auto* raw = reinterpret_cast<sockaddr*>(&where);
    REQUIRE(::bind(socket_.get(), raw, size) == 0);
    REQUIRE(::listen(socket_.get(), 8) == 0);
    REQUIRE(::getsockname(socket_.get(), raw, &size) == 0);
    port_ = ntohs(where.sin_port);
  }
  void serve() {
    for (;;) {
      transfer::unique_fd peer{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
      if (!peer) return;
      std::string got;
      char buffer[4096];
      while (got.find("\r\n\r\n") == got.npos && !(any_ && !got.empty())) {
        auto n = ::recv(peer.get(), buffer, sizeof buffer, 0);
        if (n <= 0) break;
        got.append(buffer, static_cast<std::size_t>(n));
      }
      requests_.push_back(got);
      auto text = say_(got);
      ::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
  }

  answerer say_;
  bool any_;
  transfer::unique_fd socket_;
  std::uint16_t port_ = 0;
  std::vector<std::string> requests_;
  std::thread thread_;
};

/// What skep-guest says of one target: its state, and its status where there is one.
std::string reached(const std::string& option, const std::string& target) {
  auto a = test::guest({"reach", "--limit-ms", "5000", option, target});
  REQUIRE(a.exit_code == 0);
  const auto& all = a.j["targets"];
  REQUIRE(all.size() == 1);
  const auto& one = all[0];
  CHECK(one["target"] == target);
  auto out = one["state"].get<std::string>();
  return one.contains("status") ? out + " " + std::to_string(one["status"].get<int>()) : out;
}

std::string closed_port() {
  server gone{[](const std::string&) { return std::string{}; }};
  return gone.at();
}

} // namespace

TEST_CASE("of a port of HTTP, reach tells the status, and asks as the metadata services want it") {
  server there{[](const std::string& request) {
    return request.starts_with("GET /latest/meta-data/ ") ? ok("ami-id\n") : std::string{not_there};
  }};
  CHECK(reached("--http", there.at("/latest/meta-data/")) == "answered 200");
  CHECK(reached("--http", there.at("/metadata/instance?api-version=2021-02-01")) == "answered 404");
  REQUIRE(there.requests().size() == 2);
  const auto& request = there.requests()[1];
  CHECK(request.starts_with("GET /metadata/instance?api-version=2021-02-01 HTTP/1.0\r\n"));
  CHECK(request.find("Metadata-Flavor: Google\r\n") != request.npos);
  CHECK(request.find("Metadata: true\r\n") != request.npos);
}

TEST_CASE("a service that wants a session token is asked for one, and then read with it") {
  server there{[](const std::string& request) {
    if (request.starts_with("PUT /latest/api/token ")) return ok("TOKEN-7");
    bool has = request.find("X-aws-ec2-metadata-token: TOKEN-7\r\n") != request.npos;
    return has ? ok("iam/\n") : std::string{no_token};
  }};
  CHECK(reached("--http", there.at("/latest/meta-data/")) == "answered 200");
  CHECK(there.requests().size() == 3);
}

TEST_CASE("a service with a token and nothing under the path is not read") {
  server there{[](const std::string& request) { // as Firecracker's with contents of its own
    if (request.starts_with("PUT ")) return ok("TOKEN-7");
    bool has = request.find("X-metadata-token: TOKEN-7\r\n") != request.npos;
    return std::string{has ? not_there : no_token};
  }};
  CHECK(reached("--http", there.at("/latest/meta-data/")) == "answered 401");
  server none{[](const std::string& request) {
    return request.starts_with("PUT ") ? ok("a b\r\nX-Other: 1") : std::string{no_token};
  }};
  CHECK(reached("--http", none.at("/latest/meta-data/")) == "answered 401");
  CHECK(none.requests().size() == 2); // what is no token is sent nowhere
}

TEST_CASE("a connection is no answer, whoever takes it") {
  server closes{[](const std::string&) { return std::string{}; }, true};
  CHECK(reached("--http", closes.at("/")) == "connected");
  CHECK(reached("--tls", closes.at()) == "connected");
  server babbles{[](const std::string&) { return std::string{"SSH-2.0-x\r\n"}; }, true};
  CHECK(reached("--http", babbles.at("/")) == "connected");
  CHECK(reached("--tls", babbles.at()) == "connected");
  CHECK(reached("--tls", closed_port()) == "refused");
  CHECK(reached("--http", closed_port() + "/") == "refused");
}

TEST_CASE("TLS is answered by a server's hello alone, not by an alert") {
  std::string hello{"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03", 11};
  std::string alert{"\x15\x03\x01\x00\x02\x02\x28", 7};
  server there{[hello](const std::string&) { return hello; }, true};
  CHECK(reached("--tls", there.at()) == "answered");
  server refuses{[alert](const std::string&) { return alert; }, true};
  CHECK(reached("--tls", refuses.at()) == "connected");
  REQUIRE(there.requests().size() == 1);
  const auto& said = there.requests()[0];
  REQUIRE(said.size() > 9);
  CHECK(said.substr(0, 3) == "\x16\x03\x01");
  auto record = static_cast<unsigned char>(said[3]) * 256u + static_cast<unsigned char>(said[4]);
  CHECK(record == said.size() - 5);
  CHECK(said[5] == 0x01);
  auto message = static_cast<unsigned char>(said[7]) * 256u + static_cast<unsigned char>(said[8]);
  CHECK(message == said.size() - 9);
}

TEST_CASE("all targets are tried side by side within one limit") {
  server silent{[](const std::string&) { return std::string{}; }}; // waits for the end of a request
  auto began = std::chrono::steady_clock::now();
  std::vector<std::string> words{"reach", "--limit-ms", "300"};
  for (int i = 0; i < 4; ++i)
    words.insert(words.end(), {"--tls", silent.at()});
  words.insert(words.end(), {"--http", silent.at("/")});
  auto a = test::guest(words);
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds{20});
  REQUIRE(a.exit_code == 0);
  REQUIRE(a.j["targets"].size() == 5);
  for (std::size_t i = 0; i < 5; ++i)
    CHECK(a.j["targets"][i]["state"] == "connected");
}

TEST_CASE("in a network namespace of its own nothing is reached, and reach ends at once") {
  auto text = run({"bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", guest_path(),
                   "reach", "--limit-ms", "60000", "--http", "169.254.169.254@80/latest/meta-data/",
                   "--http", "fd00:ec2::254@80/latest/meta-data/", "--tls", "1.1.1.1@443", "--tls",
                   "2620:fe::fe@443"});
  auto told = json::parse(text);
  REQUIRE(told["targets"].size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(told["targets"][i]["state"] == "unreachable");
}

TEST_CASE("what connect says has one name each") {
  using guest::reach;
  using guest::reach_of;
  CHECK(reach_of(ECONNREFUSED) == reach::refused);
  CHECK(reach_of(ECONNRESET) == reach::refused);
  CHECK(reach_of(ETIMEDOUT) == reach::no_answer);
  for (int number : {ENETUNREACH, EHOSTUNREACH, EACCES, EPERM, EAFNOSUPPORT, EADDRNOTAVAIL, EINVAL})
    CHECK(reach_of(number) == reach::unreachable);
  CHECK(guest::reach_name(reach::no_answer) == "no_answer");
}

TEST_CASE("a target is a literal address with a port, and a path for HTTP alone") {
  using guest::parse_http_target;
  using guest::parse_tls_target;
  auto v6 = parse_http_target("fd00:ec2::254@80/a?b=c");
  REQUIRE(v6.ok());
  CHECK(v6->address == "fd00:ec2::254");
  CHECK(v6->port == 80);
  CHECK(v6->path == "/a?b=c");
  for (const char* bad :
       {"", "127.0.0.1@80", "example.com@80/", "127.0.0.1:80/", "127.0.0.1@/", "127.0.0.1@0/",
        "127.0.0.1@65536/", "127.0.0.1@80/a b", "127.0.0.1@80/\r\n", "[::1]@80/", "@80/"}) {
    INFO(bad);
    CHECK(parse_http_target(bad).err().code == errc::bad_argument);
  }
  CHECK(parse_tls_target("::1@443").ok());
  for (const char* bad : {"", "1.1.1.1", "1.1.1.1@443/", "one.one.one.one@443", "1.1.1.1@-1"})
    CHECK(parse_tls_target(bad).err().code == errc::bad_argument);
  CHECK(test::guest({"reach"}).exit_code == 2);
  CHECK(test::guest({"reach", "--tls", "example.com@443"}).exit_code == 2);
}

} // namespace reach_cases
