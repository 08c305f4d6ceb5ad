#include "sandbox/errors.hpp"

#include "messages/masking.hpp"
#include "tests/support/catch.hpp"

#include <set>

using namespace skep;
using namespace skep::sandbox;

namespace {

errc code_of(int status, std::string_view body,
             const std::map<std::string, std::string>& headers = {}) {
  return classify(status, headers, body).code;
}

errc envd_code_of(int status, std::string_view body,
                  const std::map<std::string, std::string>& headers = {}) {
  return classify(status, headers, body, answerer::envd).code;
}

} // namespace

TEST_CASE("a host that cannot isolate says so with its cause") {
  auto e = classify(503, {},
                    R"({"code":503,"error_code":"no_isolation","message":"bubblewrap is missing",)"
                    R"("cause":"no bwrap"})");
  CHECK(e.code == errc::no_isolation);
  CHECK(e.message == "bubblewrap is missing");
  CHECK(e.cause == "no bwrap");
}

TEST_CASE("errors are told apart by status, body code and headers") {
  CHECK(code_of(401, R"({"code":401,"message":"Invalid API key"})") == errc::auth);
  CHECK(code_of(403, R"({"code":403,"message":"blocked"})") == errc::auth);
  CHECK(code_of(402, R"({"code":402,"message":"spending limit reached"})") == errc::quota);
  // Words decide nothing, however much they sound like another class.
  CHECK(code_of(400, R"({"code":400,"message":"author not found, quota unauthorized 401"})")
        == errc::refused);
  CHECK(code_of(404, R"({"code":404,"message":"unauthorized: rate limit, forbidden"})")
        == errc::not_found);
  CHECK(code_of(403, R"({"code":"permission_denied","message":"open /x"})") == errc::refused);
  CHECK(code_of(404, R"({"code":404,"message":"Sandbox \"x\" doesn't exist"})") == errc::not_found);
  CHECK(code_of(404, R"({"code":"not_found","message":"file not found"})") == errc::not_found);
  CHECK(code_of(404, "") == errc::protocol);
  CHECK(code_of(404, "<html>404 page not found</html>") == errc::protocol);
  CHECK(code_of(409, R"({"code":409,"message":"already paused"})") == errc::wrong_phase);
  CHECK(code_of(409, R"({"code":"already_exists","message":"dir"})") == errc::exists);
  CHECK(code_of(400, R"({"code":400,"message":"Timeout cannot be greater"})") == errc::refused);
  CHECK(code_of(400, R"({"code":"invalid_argument","message":"x"})") == errc::refused);
  CHECK(code_of(500, R"({"code":500,"message":"x"})") == errc::network);
  CHECK(code_of(500, R"({"code":"internal","message":"stdin not enabled"})") == errc::refused);
  CHECK(code_of(503, R"({"code":503,"error_code":"sandbox_capacity_unavailable"})")
        == errc::capacity);
  CHECK(code_of(504, R"({"code":504,"error_code":"sandbox_placement_timeout"})") == errc::capacity);
  CHECK(code_of(503, R"({"code":503,"message":"re-adopting"})") == errc::network);
  CHECK(code_of(504, "upstream request timeout") == errc::network);
  CHECK(code_of(504, R"({"code":"deadline_exceeded"})") == errc::timed_out);
  CHECK(code_of(507, R"({"code":507,"message":"not enough disk space"})") == errc::refused);
  CHECK(code_of(302, "") == errc::protocol);
}

TEST_CASE("429 is a rate with Retry-After and a quota without") {
  auto e = classify(429, {{"retry-after", "7"}}, R"({"code":429,"message":"Rate limit exceeded"})");
  CHECK(e.code == errc::rate);
  CHECK(e.retry_after_ms == 7000);
  CHECK(classify(429, {{"retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"}}, "").retry_after_ms
        == 1000);
  CHECK(classify(429, {{"retry-after", "99999999999999999999"}}, "").retry_after_ms > 0);
  CHECK(code_of(429, R"({"code":429,"message":"you have reached the maximum number"})")
        == errc::quota);
  CHECK(code_of(429, R"({"sandboxId":"i","connectionLimit":100,"code":429})") == errc::rate);
}

TEST_CASE("a code in the body that is no word of Connect leaves the meaning to the status") {
  CHECK(code_of(401, R"({"code":"unauthorized","message":"x"})") == errc::auth);
  CHECK(code_of(402, R"({"code":"payment_required","message":"x"})") == errc::quota);
  CHECK(code_of(403, R"({"code":"forbidden","message":"x"})") == errc::auth);
  CHECK(code_of(408, R"({"code":"request_timeout","message":"x"})") == errc::timed_out);
  CHECK(code_of(409, R"({"code":"conflict","message":"x"})") == errc::wrong_phase);
  CHECK(code_of(500, R"({"code":"internal_server_error","message":"x"})") == errc::network);
  CHECK(code_of(503, R"({"code":"service_unavailable","message":"x"})") == errc::network);
  CHECK(code_of(503, R"({"code":"busy","error_code":"sandbox_capacity_unavailable"})")
        == errc::capacity);
  CHECK(code_of(400, R"({"code":"bad_template","message":"x"})") == errc::refused);
  // Such a word may be a proxy's: nobody is told by it that a sandbox is not there.
  CHECK(code_of(404, R"({"code":"route_not_found","message":"x"})") == errc::protocol);
  auto e = classify(401, {}, R"({"code":"unauthorized","message":"token expired"})");
  CHECK(e.message == "HTTP status 401");
  CHECK(e.cause == "token expired");
}

TEST_CASE("a sandbox that is out of something is no quota of the provider") {
  const auto* body = R"({"code":"resource_exhausted","message":"cannot fork: try again"})";
  auto e = classify(429, {}, body, answerer::envd);
  CHECK(e.code == errc::remote_command_failed);
  CHECK(e.message == "the sandbox itself is out of something");
  CHECK(e.cause == "[resource_exhausted] cannot fork: try again");
  CHECK(envd_code_of(503, body) == errc::remote_command_failed);
  CHECK(envd_code_of(429, body, {{"retry-after", "3"}}) == errc::rate);
  CHECK(envd_code_of(429, R"({"sandboxId":"i","connectionLimit":5,"code":429})") == errc::rate);
  CHECK(envd_code_of(429, R"({"code":429,"message":"too many"})") == errc::rate);
  CHECK(envd_code_of(429, "too many") == errc::rate);
  // The control API's is.
  CHECK(code_of(429, body) == errc::quota);
  CHECK(code_of(403, body) == errc::quota);
  CHECK(code_of(429, R"({"code":"resource_exhausted","connectionLimit":5})") == errc::rate);
}

TEST_CASE("502 is gone only when it names the sandbox and no port") {
  CHECK(code_of(502, R"({"sandboxId":"iabc","message":"The sandbox was not found","code":502})")
        == errc::gone);
  CHECK(code_of(502, R"({"sandboxId":"iabc","message":"port is not open","port":3000,"code":502})")
        == errc::network);
  CHECK(code_of(502, "<html>Bad Gateway</html>") == errc::network);
  CHECK(code_of(502, R"({"message":"The sandbox was not found"})") == errc::network);
  CHECK(code_of(502, "") == errc::network);
}

TEST_CASE("a body that is nested without end is a body that is not understood") {
  constexpr std::size_t deep = 2'000'000;
  auto body =
      R"({"code":404,"message":"x","y":)" + std::string(deep, '[') + std::string(deep, ']') + "}";
  CHECK(code_of(404, body) == errc::protocol);
  CHECK(code_of(500, body) == errc::network);
}

TEST_CASE("the words of the provider are kept as the cause, cut and made harmless") {
  auto e = classify(400, {}, R"({"code":400,"message":"bad\ntemplate\u001b[31m"})");
  CHECK(e.cause == "bad template [31m");
  CHECK(e.message == "HTTP status 400");
  CHECK(classify(500, {}, std::string(9000, 'x')).cause.size() == cause_cap_bytes);
  std::string wide;
  for (int i = 0; i < 300; ++i)
    wide += "\u00e9";
  wide = "x" + wide;
  auto cut = foreign_text(wide);
  CHECK(cut.size() == 499); // not inside a two-byte character
}

TEST_CASE("what looks like a secret in the words of a provider is removed before they are cut") {
  const std::string block = "-----BEGIN PRIVATE KEY-----\n" + std::string(400, 'k')
                            + "\n-----END PRIVATE KEY----- is what you sent";
  CHECK(foreign_text("refused: " + block) == "refused: [removed: private key] is what you sent");
  // The cut would go through the key.
  const std::string key = "e2b_0123456789abcdef0123456789abcdef01234567";
  auto e = classify(400, {}, std::string(cause_cap_bytes - 10, ' ') + key);
  CHECK(e.cause.find("e2b_") == std::string::npos);
}

TEST_CASE("a key without a shape that the mask knows is removed before the cut, too") {
  const std::string key = "cluster-key-without-any-known-beginning";
  set_process_mask(redactor{{key}});
  auto e = classify(400, {}, std::string(cause_cap_bytes - 10, 'x') + key);
  set_process_mask(without_shapes);
  CHECK(e.cause == std::string(cause_cap_bytes - 10, 'x') + "**********");
}

// Done by evidence, never by words: for each class real answers, and the same answers saying what
// the others say.
TEST_CASE("every error class has its status and body, and words of another class change nothing") {
  struct example {
    errc code;
    int status;
    std::map<std::string, std::string> headers;
    std::string body; ///< WORDS stands for the message.
  };
  const std::vector<example> examples{
      {errc::auth, 401, {}, R"({"code":401,"message":"WORDS"})"},
      {errc::auth, 403, {}, R"({"code":403,"message":"WORDS"})"},
      {errc::auth, 401, {}, R"({"code":"unauthenticated","message":"WORDS"})"},
      {errc::quota, 429, {}, R"({"code":429,"message":"WORDS"})"},
      {errc::quota, 429, {}, R"({"code":"resource_exhausted","message":"WORDS"})"},
      {errc::rate, 429, {{"retry-after", "3"}}, R"({"code":429,"message":"WORDS"})"},
      {errc::rate, 429, {}, R"({"sandboxId":"i","connectionLimit":5,"message":"WORDS"})"},
      {errc::not_found, 404, {}, R"({"code":404,"message":"WORDS"})"},
      {errc::not_found, 404, {}, R"({"code":"not_found","message":"WORDS"})"},
      {errc::gone, 502, {}, R"({"sandboxId":"i","message":"WORDS","code":502})"},
      {errc::wrong_phase, 409, {}, R"({"code":409,"message":"WORDS"})"},
      {errc::exists, 409, {}, R"({"code":"already_exists","message":"WORDS"})"},
      {errc::capacity,
       503,
       {},
       R"({"code":503,"error_code":"sandbox_no_compatible_node","message":"WORDS"})"},
      {errc::network, 503, {}, R"({"code":503,"message":"WORDS"})"},
      {errc::network, 502, {}, R"({"sandboxId":"i","port":3000,"message":"WORDS"})"},
      {errc::network, 502, {}, "WORDS"},
      {errc::network, 503, {}, R"({"code":"unavailable","message":"WORDS"})"},
      {errc::timed_out, 408, {}, R"({"code":408,"message":"WORDS"})"},
      {errc::timed_out, 504, {}, R"({"code":"deadline_exceeded","message":"WORDS"})"},
      {errc::protocol, 404, {}, "WORDS"},
      {errc::protocol, 501, {}, R"({"code":"unimplemented","message":"WORDS"})"},
      {errc::protocol, 302, {}, "WORDS"},
      {errc::refused, 400, {}, R"({"code":400,"message":"WORDS"})"},
      {errc::refused, 507, {}, R"({"code":507,"message":"WORDS"})"},
  };
  const std::vector<std::string> words{
      "Invalid API key, please visit",
      "unauthorized access",
      "Rate limit exceeded, Retry-After: 9",
      "you have reached the maximum number of concurrent E2B sandboxes (20)",
      "Sandbox doesn't exist, 404 not found",
      "The sandbox was not found",
      "sandbox is already paused: 409 conflict",
      "already_exists",
      "sandbox_capacity_unavailable: no capacity",
      "network unreachable: 503 unavailable",
      "context deadline exceeded: timeout",
      "code: unimplemented, protocol error",
      "connectionLimit 5",
  };
  std::set<errc> classes;
  for (const auto& x : examples) {
    classes.insert(x.code);
    for (const auto& decoy : words) {
      auto body = x.body;
      body.replace(body.find("WORDS"), 5, decoy);
      INFO(x.status << " " << body);
      auto e = classify(x.status, x.headers, body);
      CHECK(e.code == x.code);
      CHECK(e.cause.find(decoy) != std::string::npos); // kept for people, not for decisions
    }
  }
  CHECK(classes.size() == 12);
}

TEST_CASE("the error of a stream's end is told apart by its code, not its words") {
  const std::vector<std::pair<std::string, errc>> codes{
      {"unauthenticated", errc::auth},        {"not_found", errc::not_found},
      {"already_exists", errc::exists},       {"aborted", errc::wrong_phase},
      {"deadline_exceeded", errc::timed_out}, {"canceled", errc::timed_out},
      {"unavailable", errc::network},         {"resource_exhausted", errc::remote_command_failed},
      {"unimplemented", errc::protocol},      {"internal", errc::refused},
      {"permission_denied", errc::refused},   {"tomorrow", errc::refused}};
  for (const auto& [code, wanted] : codes)
    for (const auto& [decoy, other] : codes)
      CHECK(classify_connect(code, decoy + ": this is about " + decoy).code == wanted);
}
