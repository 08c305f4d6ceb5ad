// Calls that tell no figures are counted all the same.
#include "host/gateway/account.hpp"
#include "tests/gateway/gateway_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::test;
using namespace skep::host;

namespace {

/// 4000 bytes, and what is around them.
const std::string long_prompt =
    R"({"model":"claude-haiku-4-5","max_tokens":100,"messages":")" + std::string(4000, 'x') + "\"}";
const std::uint64_t long_prompt_tokens = (long_prompt.size() + 3) / 4;
const std::uint64_t asked_output = 100; ///< By long_prompt.

const std::string stream_head =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

void check_estimate(const model_call& call, std::uint64_t output) {
  CHECK_FALSE(call.complete);
  CHECK(call.domain == "api.test");
  CHECK(call.model == "claude-haiku-4-5");
  CHECK(call.tokens.input == long_prompt_tokens);
  CHECK(call.tokens.output == output);
  CHECK(call.micro_usd == long_prompt_tokens + 5 * output);
}

} // namespace

TEST_CASE_METHOD(
    short_drain_gateway,
    "a client that hangs up before the answer begins pays for all that its call had reserved") {
  auto c = g.connect();
  c.send(post(long_prompt));
  auto there = upstream.accept();
  CHECK(there.read_answer().body == long_prompt);
  c.close();
  CHECK(there.at_end()); // nobody waits for it for ever
  check_estimate(only_call(g), asked_output);
  g.with([](gateway& x) { CHECK(x.spend().cut() == 1); });
  CHECK(g.counts().output_tokens == asked_output);
  CHECK(g.counts().input_tokens == long_prompt_tokens);
}

TEST_CASE_METHOD(
    ruled_gateway,
    "a JSON answer that is cut half-way is counted with all that its call had reserved") {
  auto [c, there] = begin_call(post(long_prompt));
  there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
             R"({"content":[{"type":"text","text":"12345678"},{"type":"text","text":"1234)");
  there.close();
  c.read_header();
  check_estimate(only_call(g), asked_output);
}

TEST_CASE_METHOD(
    ruled_gateway,
    "a whole answer that cannot be read is counted with all that its call had reserved") {
  auto [c, there] = begin_call(post(long_prompt));
  there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
             "Content-Length: 2\r\n\r\n\x1f\x8b");
  CHECK(c.read_answer().status == 200);
  check_estimate(only_call(g), asked_output);
}

TEST_CASE_METHOD(
    ruled_gateway,
    "a stream that is cut before its first event is counted with all it had reserved") {
  auto [c, there] = begin_call(post(long_prompt));
  there.send(stream_head);
  c.read_header();
  there.close();
  CHECK(c.at_end());
  check_estimate(only_call(g), asked_output);
}

TEST_CASE_METHOD(ruled_gateway, "a call that its upstream ends without a word costs its prompt, so "
                                "that one that is out of order uses up no budget") {
  auto [c, there] = begin_call(post(long_prompt));
  there.close();
  CHECK(c.read_answer().status == 502);
  check_estimate(only_call(g), 0);
}

TEST_CASE_METHOD(ruled_gateway, "a call that is cut because its keys are revoked is counted") {
  auto [c, there] = begin_call(post(long_prompt));
  g.with([](gateway& x) { x.revoke_keys(); });
  CHECK(c.at_end());
  check_estimate(only_call(g), asked_output);
}

TEST_CASE_METHOD(ruled_gateway,
                 "a call that names no model and tells no figures has no known price") {
  auto [c, there] = begin_call(post("{}"));
  there.close();
  CHECK(c.read_answer().status == 502);
  auto call = only_call(g);
  CHECK(call.model.empty());
  CHECK(call.tokens.input == 1);
  CHECK(call.tokens.output == 0); // its upstream ended it
  CHECK_FALSE(call.micro_usd);
  g.with([](gateway& x) { CHECK(x.spend().unpriced() == 1); });
}

TEST_CASE_METHOD(ruled_gateway,
                 "what is refused upstream, never sent whole, or asks no model costs nothing") {
  for (const char* status : {"400 Bad Request", "429 Too Many Requests", "529 Overloaded"}) {
    auto [c, there] = begin_call(post(long_prompt));
    there.send(std::string{"HTTP/1.1 "} + status
               + "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    CHECK(c.read_answer().body == "{}");
  }
  { // refused, and the body of it cut
    auto [c, there] = begin_call(post(long_prompt));
    there.send("HTTP/1.1 500 Oh\r\nContent-Length: 20\r\n\r\nhalf");
    there.close();
    c.read_header();
    CHECK(c.take(4) == "half");
    CHECK(c.at_end());
  }
  { // half of a request
    auto c = g.connect();
    auto text = post(long_prompt);
    c.send(text.substr(0, text.size() - 1));
    auto there = upstream.accept();
    there.read_header();
    c.close();
    there.rest();
  }
  for (const std::string& text :
       {post(long_prompt, "/v1/messages/count_tokens?beta=true"),
        std::string{"GET /api.test/v1/models HTTP/1.1\r\nHost: x\r\n\r\n"}}) {
    auto [c, there] = begin_call(text);
    there.close();
    CHECK(c.read_answer().status == 502);
  }
  { // a whole answer of something that is no model
    auto [c, there] = begin_call(post(R"({"title":"x"})", "/v1/files"));
    there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
               R"({"content":"x"})");
    CHECK(c.read_answer().status == 200);
  }
  CHECK(answered(post(long_prompt), "m", 1, 1).status == 200);
  g.with([](gateway& x) { CHECK(x.spend().last() == 1); });
}

TEST_CASE_METHOD(ruled_gateway,
                 "a whole stream that tells no figures is counted by its prompt and its text") {
  auto [c, there] = begin_call(post(long_prompt, "/v1/chat/completions"));
  const std::string piece = "data: {\"model\":\"as-the-request-says\",\"choices\":[{\"delta\":"
                            "{\"content\":\"12345678\"}}]";
  there.send(stream_head + chunk_of(piece + "}\n\n") + chunk_of(piece + ",\"usage\":null}\n\n")
             + chunk_of("data: [DONE]\n\n") + "0\r\n\r\n");
  c.read_answer();
  check_estimate(only_call(g), 4);
}

TEST_CASE("the figures of a JSON answer are read from its end, however long it is") {
  const std::string begin = R"({"model":"m-1","content":[{"text":")";
  const std::string text(16'384, 'x');
  auto read = [&](const std::string& end, bool complete) {
    gate::usage_reader u("application/json", false);
    u.feed(begin);
    for (int i = 0; i < 400; ++i) // 6.5 MB
      u.feed(text);
    u.feed(end.substr(0, end.size() / 2));
    u.feed(end.substr(end.size() / 2));
    u.finish(complete);
    return u;
  };
  const std::string end = R"( \"usage\":{\"output_tokens\":1} "},{"usage":{"output_tokens":2}}],)"
                          R"("usage":{"input_tokens":7,"s":"}\"","output_tokens":1300000}})";
  auto whole = read(end, true);
  CHECK(whole.reported());
  CHECK(whole.readable());
  CHECK(whole.input_tokens() == 7);
  CHECK(whole.output_tokens() == 1'300'000);
  auto cut = read(end, false); // what comes before its own figures may be anything
  CHECK_FALSE(cut.reported());
  CHECK_FALSE(cut.readable());
  auto silent = read("\"}]}", true);
  CHECK_FALSE(silent.reported());
  CHECK_FALSE(silent.readable());
  CHECK_FALSE(read(R"("}],"usage":7})", true).reported());
}

TEST_CASE("what Gemini's models think counts as output") {
  gate::usage_reader u("application/json", false);
  u.feed(R"({"modelVersion":"gemini-x","usageMetadata":{"promptTokenCount":5,)"
         R"("candidatesTokenCount":7,"thoughtsTokenCount":11}})");
  u.finish();
  CHECK(u.reported());
  CHECK(u.input_tokens() == 5);
  CHECK(u.output_tokens() == 18);
}
