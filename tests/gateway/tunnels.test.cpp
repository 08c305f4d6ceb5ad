// CONNECT and plain HTTP through the gateway as a proxy.
#include "host/gateway/tunnels.hpp"
#include "messages/json.hpp"
#include "tests/gateway/gateway_fixture.hpp"
#include "tests/support/catch.hpp"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <future>
#include <ifaddrs.h>
#include <netdb.h>

using namespace skep;
using namespace skep::test;
using namespace skep::host;
using namespace skep::host::gate;

namespace {

/// The system's resolver, as it is when its servers do not answer: `hanging_name` is answered when
/// the test says so.
constexpr std::string_view hanging_name = "hangs.example.com";
std::promise<void> resolver_goes_on;
} // namespace

// In place of the C library's.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints,
                           addrinfo** out) {
  if (name && name == hanging_name) {
    resolver_goes_on.get_future().wait_for(std::chrono::seconds{60});
    return EAI_AGAIN;
  }
  static auto real = reinterpret_cast<decltype(&::getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(name, service, hints, out);
}

// In place of the C library's: the addresses of a machine in a data centre and of one in an office.
extern "C" int getifaddrs(ifaddrs** out) noexcept {
  static sockaddr_in v4{};
  static sockaddr_in6 v6{}, mask{};
  static ifaddrs second{}, first{};
  v4.sin_family = AF_INET;
  ::inet_pton(AF_INET, "93.184.216.34", &v4.sin_addr);
  v6.sin6_family = mask.sin6_family = AF_INET6;
  ::inet_pton(AF_INET6, "2a01:4f8:1:2::10", &v6.sin6_addr);
  ::inet_pton(AF_INET6, "ffff:ffff:ffff:ffff::", &mask.sin6_addr);
  first.ifa_addr = reinterpret_cast<sockaddr*>(&v4);
  first.ifa_next = &second;
  second.ifa_addr = reinterpret_cast<sockaddr*>(&v6);
  second.ifa_netmask = reinterpret_cast<sockaddr*>(&mask);
  *out = &first;
  return 0;
}
extern "C" void freeifaddrs(ifaddrs*) noexcept {}

namespace {

gateway_access allowing(std::vector<std::string> hosts, std::vector<std::string> ranges = {}) {
  gateway_access out;
  out.tunnels.hosts = std::move(hosts);
  out.tunnels.ranges = std::move(ranges);
  return out;
}

/// `host` is allowed and leads to `upstream`, as an operator may say.
gateway_access leading(const std::string& host, const tcp_listener& upstream) {
  auto out = allowing({host});
  out.tunnels.upstreams[host] = "http://127.0.0.1:" + std::to_string(upstream.port());
  return out;
}

unsigned status_of(const char* target, const gateway_access& access) {
  auto to = parse_authority(target);
  if (!to) return 400;
  endpoint where;
  auto refused = find_tunnel(*to, access, where);
  return refused ? refused->status : 0;
}

answer ask_tunnel(const running_gateway& g, const std::string& target) {
  return g.request("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n");
}

raw_connection opened(const running_gateway& g, const std::string& target) {
  auto c = g.connect();
  c.send("CONNECT " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
  auto head = c.read_header();
  INFO(head.first_line);
  REQUIRE(head.status == 200);
  return c;
}

} // namespace

TEST_CASE("the target of a tunnel is a name or an address with a port, in one form alone") {
  auto shown = [](const char* text) {
    auto a = parse_authority(text);
    return a ? a->host + " " + std::to_string(a->port) : std::string{"none"};
  };
  CHECK(shown("Api.Example.com:443") == "api.example.com 443");
  CHECK(shown("example.com.:443") == "example.com 443");
  CHECK(shown("1.2.3.4:80") == "1.2.3.4 80");
  CHECK(shown("[2606:4700::1111]:443") == "2606:4700::1111 443");
  CHECK(shown("[0:0:0:0:0:0:0:1]:443") == "::1 443");
  const char* bad[] = {"",
                       ":443",
                       "example.com",
                       "example.com:",
                       "example.com:0",
                       "example.com:0443",
                       "example.com:+443",
                       "example.com:65536",
                       "example.com:443:443",
                       "example.com:443 ",
                       "user@example.com:443",
                       "example.com/path:443",
                       "http://example.com:443",
                       "exa mple.com:443",
                       "exa_mple.com:443",
                       "-example.com:443",
                       "example..com:443",
                       "ex\xc3\xa4mple.com:443",
                       "127.1:443",
                       "2130706433:443",
                       "0x7f000001:443",
                       "0x7f.0.0.1:443",
                       "0177.0.0.1:443",
                       "1.2.3.4.:443",
                       "::1:443",
                       "[::1]",
                       "[::1:443",
                       "[::1]443",
                       "[fe80::1%lo]:443",
                       "[1.2.3.4]:443"};
  for (const char* text : bad) {
    CAPTURE(text);
    CHECK(shown(text) == "none");
  }
}

TEST_CASE("a tunnel is allowed by name, by wildcard or by range, and to two ports") {
  auto names = allowing({"files.test.org", "*.example.com"});
  CHECK(status_of("files.test.org:443", names) == 0);
  CHECK(status_of("Files.test.org.:80", names) == 0);
  CHECK(status_of("files.test.org:22", names) == 403);
  CHECK(status_of("files.test.org:8443", names) == 403);
  CHECK(status_of("x.files.test.org:443", names) == 403);
  CHECK(status_of("files.test.org.evil.com:443", names) == 403);
  CHECK(status_of("a.example.com:443", names) == 0);
  CHECK(status_of("a.b.example.com:443", names) == 0);
  CHECK(status_of("example.com:443", names) == 403);
  CHECK(status_of("evilexample.com:443", names) == 403);
  CHECK(status_of("1.1.1.1:443", names) == 403);

  auto ranges = allowing({}, {"1.1.1.0/24", "2606:4700::/32"});
  CHECK(status_of("1.1.1.1:443", ranges) == 0);
  CHECK(status_of("1.1.2.1:443", ranges) == 403);
  CHECK(status_of("[::ffff:1.1.1.9]:443", ranges) == 0);
  CHECK(status_of("[2606:4700::1111]:443", ranges) == 0);
  CHECK(status_of("[2606:4701::1]:443", ranges) == 403);

  auto all = allowing({}, {"0.0.0.0/0"});
  CHECK(status_of("anything.example.org:443", all) == 0);
  CHECK(status_of("[2606:4700::1111]:80", all) == 0);
  CHECK(status_of("anything.example.org:25", all) == 403);

  CHECK(status_of("files.test.org:443", {}) == 403);
}

TEST_CASE("a host with a rule is not reached past its paths and its key") {
  auto access = allowing({"api.test.com", "*.test.com"}, {"0.0.0.0/0"});
  access.rules = {{"api.test.com", {{"x-api-key", "k"}}, {"/v1"}, ""}};
  CHECK(status_of("api.test.com:443", access) == 403);
  CHECK(status_of("API.test.com.:443", access) == 403);
  CHECK(status_of("other.test.com:443", access) == 0);
}

TEST_CASE("a tunnel carries bytes both ways as they come, and the end of either side") {
  tcp_listener upstream;
  running_gateway g(leading("files.example.com", upstream));
  auto c = g.connect();
  c.send("CONNECT files.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\nearly");
  auto there = upstream.accept();
  CHECK(there.take(5) == "early");
  CHECK(c.read_header().first_line == "HTTP/1.1 200 Connection established");
  there.send("down");
  CHECK(c.take(4) == "down");
  c.send("up");
  CHECK(there.take(2) == "up");
  ::shutdown(c.fd(), SHUT_WR);
  CHECK(there.at_end());
  there.send("last words");
  there.close();
  CHECK(c.take(10) == "last words");
  CHECK(c.at_end());
  auto n = g.counts();
  CHECK(n.tunnels == 1);
  CHECK(n.bytes_in == 7);
  CHECK(n.bytes_out == 14);
}

TEST_CASE("a name that leads to a private address is refused, whoever allowed it", "[owasp-a10]") {
  tcp_listener upstream; // would answer
  running_gateway g(allowing({"localhost"}, {"0.0.0.0/0"}));
  for (const char* target :
       {"localhost:80", "127.0.0.1:80", "[::1]:80", "10.0.0.1:443", "169.254.169.254:80",
        "[::ffff:127.0.0.1]:443", "[fd00:ec2::254]:80", "[64:ff9b::7f00:1]:80", "0.0.0.0:80"}) {
    CAPTURE(target);
    auto a = ask_tunnel(g, target);
    CHECK(a.status == 403);
    CHECK(a.headers["x-skep-gateway"] == "1");
    CHECK(json::parse(a.body)["error"]["message"].get<std::string>().find("private")
          != std::string::npos);
  }
  CHECK(g.counts().tunnels == 0);
}

TEST_CASE("this machine is not reached by its public address, nor its network by IPv6") {
  gateway_policy policy;
  policy.connect = std::chrono::milliseconds{200};
  running_gateway g(allowing({}, {"0.0.0.0/0"}), policy);
  auto is_refused = [&](const char* target) {
    auto a = ask_tunnel(g, target);
    return a.status == 403 && a.body.find("private") != std::string::npos;
  };
  CHECK(is_refused("93.184.216.34:443"));
  CHECK(is_refused("[2a01:4f8:1:2::10]:443"));
  CHECK(is_refused("[2a01:4f8:1:2:5:6:7:8]:80")); // a neighbour
  CHECK_FALSE(is_refused("93.184.216.35:443"));
  CHECK_FALSE(is_refused("[2a01:4f8:1:3::10]:443"));
}

TEST_CASE("a name that nobody answers for is given up at the deadline") {
  gateway_policy policy;
  policy.connect = std::chrono::milliseconds{200};
  running_gateway g(allowing({std::string{hanging_name}}), policy);
  CHECK(ask_tunnel(g, std::string{hanging_name} + ":443").status == 504);
  CHECK(ask_tunnel(g, std::string{hanging_name} + ":443").status == 504); // waits behind the first
  resolver_goes_on.set_value();
}

TEST_CASE("what is not listed is refused as JSON, and the connection ends") {
  running_gateway g(allowing({"files.test.org"}));
  auto c = g.connect();
  c.send("CONNECT evil.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\nGET /secret HTTP/1.1\r\n\r\n");
  auto a = c.read_answer();
  CHECK(a.status == 403);
  CHECK(json::parse(a.body)["error"]["type"] == "permission_error");
  CHECK(c.at_end()); // what followed was not taken for a request
  CHECK(ask_tunnel(g, "files.test.org:22").status == 403);
  CHECK(ask_tunnel(g, "files.test.org").status == 400);
  CHECK(ask_tunnel(g, "user@files.test.org:443").status == 400);
  CHECK(g.request("CONNECT files.test.org:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            .status
        == 400);
  CHECK(g.request(
             "CONNECT files.test.org:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            .status
        == 400);
  auto n = g.counts();
  CHECK(n.tunnels == 0);
  CHECK(n.refused == 6);
}

TEST_CASE("a tunnel in which nothing passes is closed, and only so many are open at a time") {
  tcp_listener upstream;
  gateway_policy policy;
  policy.tunnel_idle = std::chrono::milliseconds{300};
  policy.tunnels = 1;
  running_gateway g(leading("a.example.com", upstream), policy);
  auto first = opened(g, "a.example.com:443");
  auto there = upstream.accept();
  CHECK(ask_tunnel(g, "a.example.com:443").status == 429);
  CHECK(first.at_end());
  CHECK(there.at_end());
  auto second = opened(g, "a.example.com:443");
  CHECK(g.counts().tunnels == 2);
}

TEST_CASE("other rules hold for new connections, and tunnels to what is closed are cut") {
  tcp_listener kept, cut;
  auto access = leading("kept.example.com", kept);
  access.tunnels.hosts.push_back("cut.example.com");
  access.tunnels.upstreams["cut.example.com"] = "http://127.0.0.1:" + std::to_string(cut.port());
  running_gateway g(access);
  auto stays = opened(g, "kept.example.com:443");
  auto goes = opened(g, "cut.example.com:443");
  auto kept_there = kept.accept();
  auto cut_there = cut.accept();
  auto less = leading("kept.example.com", kept);
  g.allow(less);
  CHECK(goes.at_end());
  CHECK(cut_there.at_end());
  kept_there.send("still here");
  CHECK(stays.take(10) == "still here");
  CHECK(ask_tunnel(g, "cut.example.com:443").status == 403);
  auto again = opened(g, "kept.example.com:443");

  auto broken = less;
  broken.tunnels.hosts.push_back("no host");
  CHECK_THROWS_AS(g.allow(broken), std::invalid_argument);
  auto yet_again = opened(g, "kept.example.com:443");
}

TEST_CASE("plain HTTP goes through as with any proxy, to listed hosts alone and without a key") {
  tcp_listener upstream;
  auto access = leading("deb.example.com", upstream);
  access.rules = {{"api.test.com", {{"x-api-key", "real-key"}}, {}, ""}};
  running_gateway g(access);
  auto c = g.connect();
  c.send("GET http://DEB.example.com/debian/x?y=1 HTTP/1.1\r\nHost: wrong.example.org\r\n"
         "Proxy-Connection: keep-alive\r\nAuthorization: mine\r\n\r\n");
  auto there = upstream.accept();
  auto seen = there.read_answer();
  CHECK(seen.first_line == "GET /debian/x?y=1 HTTP/1.1");
  CHECK(seen.headers["host"] == "deb.example.com");
  CHECK(seen.headers["authorization"] == "mine");
  CHECK(!seen.has("proxy-connection"));
  CHECK(!seen.has("x-api-key"));
  there.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  CHECK(c.read_answer().body == "ok");
  auto status = [&](const std::string& target) {
    return g.request("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n").status;
  };
  CHECK(status("http://other.example.com/") == 403);
  CHECK(status("http://api.test.com/v1/x") == 403);
  CHECK(status("http://deb.example.com:8080/") == 403);
  CHECK(status("https://deb.example.com/") == 400);
  CHECK(status("http://user@deb.example.com/") == 400);
  CHECK(status("http:///x") == 400);
  CHECK(status("deb.example.com") == 400);
}
