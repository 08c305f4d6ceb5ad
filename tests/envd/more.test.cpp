// Signed URLs, StreamInput, compose, compressed answers, initialization, frozen time and the
// sandbox's own figures.
#include "host/envd/deflate.hpp"
#include "host/envd/inflate.hpp"
#include "host/envd/signature.hpp"
#include "tests/envd/envd_fixture.hpp"
#include "tests/support/catch.hpp"

#include <csignal>
#include <ctime>
#include <fstream>
#include <sstream>

using namespace skep;
using namespace skep::test;

namespace {
std::string url_encoded(std::string_view text) {
  std::string out;
  for (unsigned char c : text)
    if (std::isalnum(c) || c == '_' || c == '-' || c == '.') {
      out += static_cast<char>(c);
    } else {
      char escape[4];
      std::snprintf(escape, sizeof escape, "%%%02X", c);
      out += escape;
    }
  return out;
}
std::string read_whole(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}
} // namespace

TEST_CASE("a signature is what E2B's SDK computes for the same path, user and token",
          "[owasp-a07]") {
  CHECK(skep::envd::file_signature("/tmp/x", "read", "root", "tok_envd", {})
        == "v1_81a74+TQgwIlzaunheExzGcoYrwCu6FDIvZGmHG0mUk");
  CHECK(skep::envd::file_signature("/tmp/x", "write", "root", "tok_envd", {})
        != skep::envd::file_signature("/tmp/x", "read", "root", "tok_envd", {}));
}

TEST_CASE("a signed URL opens one path for one operation until it expires") {
  test::envd_process e;
  e.token.clear(); // no header: the URL is all there is
  auto path = e.dir / "home/a b+c";
  auto url = [&](const std::string& operation, const std::string& expiration,
                 const std::string& token = "tok_envd") {
    auto out = "/files?path=" + url_encoded(path) + "&signature="
               + url_encoded(skep::envd::file_signature(path, operation, {}, token, expiration));
    return expiration.empty() ? out : out + "&signature_expiration=" + expiration;
  };
  auto later = std::to_string(std::time(nullptr) + 100);
  auto earlier = std::to_string(std::time(nullptr) - 1);
  constexpr auto octets = "Content-Type: application/octet-stream\r\n";
  CHECK(e.request("POST", url("write", {}), octets, "hello").status == 200);
  CHECK(e.request("GET", url("read", {})).body == "hello");
  CHECK(e.request("GET", url("read", later)).body == "hello");
  struct row {
    std::string target, message;
  };
  const row rows[] = {
      {url("read", earlier), "signature is already expired"},
      {url("write", {}), "invalid signature"}, // of the other operation
      {url("read", {}, "other"), "invalid signature"},
      {url("read", later) + "0", "invalid signature"}, // a later end than was signed
      {"/files?path=" + url_encoded(path), "missing signature query parameter"},
  };
  for (const auto& r : rows) {
    auto a = e.request("GET", r.target);
    CHECK(a.status == 401);
    CHECK(json::parse(a.body).at("message") == r.message);
  }
  // A signature is for /files alone.
  CHECK(e.request("GET",
                  "/metrics?signature="
                      + url_encoded(skep::envd::file_signature({}, "read", {}, "tok_envd", {})))
            .status
        == 401);
}

TEST_CASE("StreamInput takes many envelopes for one process") {
  test::envd_process e;
  auto cat = e.start({{"process", {{"cmd", "cat"}}}, {"stdin", true}});
  auto pid = cat.pid();
  auto body = make_envelope(json{{"start", {{"process", selector(pid)}}}}.dump());
  for (const char* piece : {"one ", "two ", "three"})
    body += make_envelope(json{{"data", {{"input", {{"stdin", base64_encode(piece)}}}}}}.dump());
  body += make_envelope(R"({"keepalive":{}})");
  auto a = e.request("POST", "/process.Process/StreamInput",
                     "Content-Type: application/connect+json\r\n", body);
  CHECK(a.status == 200);
  CHECK(a.body == make_envelope("{}") + std::string("\x02\0\0\0\x02{}", 7));
  CHECK(e.unary("process.Process/CloseStdin", {{"process", selector(pid)}}).status == 200);
  cat.finish();
  CHECK(cat.out == "one two three");
  auto missing = e.request("POST", "/process.Process/StreamInput",
                           "Content-Type: application/connect+json\r\n",
                           make_envelope(json{{"start", {{"process", {{"tag", "no"}}}}}}.dump()));
  CHECK(missing.body.find("not_found") != std::string::npos);
}

TEST_CASE("files are composed in order and their sources go away") {
  test::envd_process e;
  std::ofstream(e.dir / "home/1") << "first ";
  std::ofstream(e.dir / "home/2") << "second";
  json request = {{"source_paths", {"1", "2"}}, {"destination", "out/all"}};
  auto a =
      e.request("POST", "/files/compose", "Content-Type: application/json\r\n", request.dump());
  CHECK(a.status == 200);
  CHECK(json::parse(a.body).at("path") == e.dir / "home/out/all");
  CHECK(read_whole(e.dir / "home/out/all") == "first second");
  CHECK_FALSE(std::filesystem::exists(e.dir / "home/1"));
  // After a lost answer the same request finds no sources, and says so.
  CHECK(e.request("POST", "/files/compose", {}, request.dump()).status == 404);
  CHECK(read_whole(e.dir / "home/out/all") == "first second");
}

TEST_CASE("a download is compressed for who accepts it, never with a range") {
  test::envd_process e;
  std::string text;
  for (int i = 0; i < 20'000; ++i)
    text += "line " + std::to_string(i) + '\n';
  std::ofstream(e.dir / "home/long.txt") << text;
  auto plain = e.request("GET", "/files?path=long.txt");
  CHECK(plain.body == text);
  auto packed = e.request("GET", "/files?path=long.txt", "Accept-Encoding: gzip, deflate\r\n");
  CHECK(packed.headers.at("content-encoding") == "gzip");
  CHECK_FALSE(packed.has("content-length"));
  CHECK(packed.body.size() < text.size() / 2);
  std::string unpacked;
  skep::envd::gzip_decoder decoder;
  CHECK(decoder.feed(packed.body, [&](std::string_view piece) { unpacked += piece; }));
  CHECK(decoder.complete());
  CHECK(unpacked == text);
  auto part =
      e.request("GET", "/files?path=long.txt", "Accept-Encoding: gzip\r\nRange: bytes=0-3\r\n");
  CHECK(part.status == 206);
  CHECK(part.body == "line");
  CHECK_FALSE(skep::envd::accepts_gzip("gzip;q=0, deflate"));
  CHECK(skep::envd::accepts_gzip("deflate, gzip;q=0.5"));
}

TEST_CASE("an initialization replaces the environment and keeps the token it must name") {
  test::envd_process e(json{{"envVars", {{"OLD", "1"}}}});
  auto init = [&](const json& body) {
    return e.request("POST", "/init", "Content-Type: application/json\r\n", body.dump());
  };
  CHECK(init({{"accessToken", "wrong"}}).status == 401);
  CHECK(init(json::object()).status == 401); // would clear the token
  auto a = init({{"accessToken", "tok_envd"},
                 {"envVars", {{"NEW", "2"}}},
                 {"timestamp", "2026-01-02T03:04:05.5Z"}});
  CHECK(a.status == 204);
  CHECK(a.headers.at("x-envd-version") == "0.6.13");
  CHECK(e.shell("echo $OLD $NEW").out == "2\n");
  CHECK(init({{"accessToken", "tok_envd"},
              {"envVars", {{"NEW", "3"}}},
              {"timestamp", "2026-01-02T03:04:05.25Z"}})
            .status
        == 204);
  CHECK(e.shell("echo $NEW").out == "2\n"); // it was older
  CHECK(init({{"accessToken", "tok_envd"}, {"timestamp", "yesterday"}}).status == 400);
}

TEST_CASE("a deadline stands still while the sandbox is frozen, and streams are let go") {
  test::envd_process e;
  auto sleeper =
      e.start({{"process", {{"cmd", "sleep"}, {"args", {"1000"}}}}}, "Connect-Timeout-Ms: 400\r\n");
  auto pid = sleeper.pid();
  CHECK(e.request("POST", "/freeze").status == 204);
  CHECK(sleeper.connection().at_end()); // no end of the stream, no end of the process
  auto frozen = std::chrono::steady_clock::now();
  // The other deadline here, of a process that is not under the frozen clock's: this test's own.
  test::envd_process other;
  other.shell("sleep 0.6");
  CHECK(std::chrono::steady_clock::now() - frozen >= std::chrono::milliseconds{400});
  CHECK(::kill(pid, 0) == 0);
  CHECK(e.request("POST", "/unfreeze").status == 204);
  auto again = e.stream("Connect", {{"process", selector(pid)}});
  again.finish();
  CHECK(again.end.at("status") == "signal: killed");
}

TEST_CASE("metrics name every figure that E2B's envd names") {
  test::envd_process e;
  auto figures = [&] { return json::parse(e.request("GET", "/metrics").body); };
  auto before = figures();
  for (const char* field : {"ts", "cpu_count", "cpu_used_pct", "mem_total_mib", "mem_used_mib",
                            "mem_total", "mem_used", "mem_cache", "disk_used", "disk_total"})
    CHECK(before.contains(field));
  CHECK(before.at("disk_total").get<std::uint64_t>() > before.at("disk_used").get<std::uint64_t>());
}
