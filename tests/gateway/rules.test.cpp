#include "host/gateway/rules.hpp"
#include "host/gateway/usage.hpp"
#include "tests/support/catch.hpp"

using namespace skep::host;
using namespace skep::host::gate;

TEST_CASE("only addresses of public services are reached", "[owasp-a10]") {
  const char* closed[] = {
      "0.0.0.0",         "10.1.2.3",        "100.64.0.1",     "127.0.0.1",   "127.255.0.1",
      "169.254.169.254", "172.16.0.1",      "172.31.255.255", "192.168.1.1", "198.18.0.1",
      "224.0.0.1",       "255.255.255.255", "168.63.129.16",  "::",          "::1",
      "fe80::1",         "fc00::1",         "fd00:ec2::254",  "ff02::1",     "::ffff:127.0.0.1",
      "::ffff:10.0.0.1", "64:ff9b::a00:1",  "2002:7f00:1::",  "2001:db8::1", "2001::1",
      "fec0::1",         "::127.0.0.1"};
  for (const char* text : closed) {
    CAPTURE(text);
    CHECK(!is_public(boost::asio::ip::make_address(text)));
  }
  const char* open[] = {"1.1.1.1", "172.32.0.1",      "100.128.0.1",    "192.169.0.1",
                        "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"};
  for (const char* text : open) {
    CAPTURE(text);
    CHECK(is_public(boost::asio::ip::make_address(text)));
  }
}

TEST_CASE("a path prefix means whole segments") {
  std::vector<gateway_rule> rules{{"a.test", {}, {"/v1/messages"}, ""}, {"b.test", {}, {}, ""}};
  route to;
  auto status = [&](const char* target) {
    auto r = find_route(target, rules, to);
    return r ? r->status : 0U;
  };
  CHECK(status("/a.test/v1/messages") == 0);
  CHECK(to.target == "/v1/messages");
  CHECK(status("/a.test/v1/messages/count_tokens?a=/../b") == 0);
  CHECK(to.target == "/v1/messages/count_tokens?a=/../b");
  CHECK(status("/a.test/v1/messagesX") == 403);
  CHECK(status("/A.Test/v1/messages") == 0);
  CHECK(status("/b.test") == 0);
  CHECK(to.target == "/");
  CHECK(status("/b.test?q=1") == 0);
  CHECK(to.target == "/?q=1");
  CHECK(status("/b.test/a%20b") == 0);
  CHECK(to.target == "/a%20b");
}

TEST_CASE("an upstream override names scheme, host, port and a base path") {
  endpoint e;
  REQUIRE(upstream_of({"a.test", {}, {}, "http://127.0.0.1:8080/base/"}, e));
  CHECK((!e.tls && e.any_address && e.host == "127.0.0.1" && e.port == "8080"
         && e.host_header == "127.0.0.1:8080" && e.base_path == "/base"));
  REQUIRE(upstream_of({"a.test", {}, {}, "https://[::1]:444"}, e));
  CHECK((e.tls && e.host == "::1" && e.port == "444"));
  REQUIRE(upstream_of({"a.test", {}, {}, ""}, e));
  CHECK((e.tls && !e.any_address && e.host == "a.test" && e.port == "443"));
}

TEST_CASE("usage is read wherever the stream is cut") {
  const std::string stream =
      "event: message_start\r\ndata: {\"message\":{\"usage\":{\"input_tokens\":3,"
      "\"output_tokens\":1}}}\r\n\r\ndata: {\"usage\":{\"output_tokens\":9}}\n\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    usage_reader u("text/event-stream; charset=utf-8", false);
    u.feed(std::string_view{stream}.substr(0, cut));
    u.feed(std::string_view{stream}.substr(cut));
    u.finish();
    REQUIRE(u.input_tokens() == 3);
    REQUIRE(u.output_tokens() == 9);
  }
  usage_reader text("text/plain", false);
  text.feed(stream);
  text.finish();
  CHECK(text.output_tokens() == 0);
  usage_reader huge("text/event-stream", false);
  huge.feed("data: {\"x\":\"" + std::string(3'000'000, 'x')
            + "\",\"usage\":{\"output_tokens\":5}}\n");
  huge.feed("data: {\"usage\":{\"output_tokens\":6}}\n");
  huge.finish();
  CHECK(huge.output_tokens() == 6);
}
TEST_CASE("a path with $ at its end is that path alone") {
  route out;
  std::vector<gateway_rule> rules = {{"api.test", {}, {"/v1/messages$", "/v1/models"}, ""}};
  for (auto* good : {"/api.test/v1/messages", "/api.test/v1/messages?beta=true",
                     "/api.test/v1/models", "/api.test/v1/models/m"}) {
    INFO(good);
    CHECK_FALSE(find_route(good, rules, out));
  }
  for (auto* bad : {"/api.test/v1/messages/batches", "/api.test/v1/messages/",
                    "/api.test/v1/message", "/api.test/v1/messages$"}) {
    INFO(bad);
    auto refused = find_route(bad, rules, out);
    REQUIRE(refused);
    CHECK(refused->status == 403);
  }
}
