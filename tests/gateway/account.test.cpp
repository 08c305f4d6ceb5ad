// Calls that tell no figures are counted all the same, and several at a time get no more than there
// is room for.
#include "host/gateway/account.hpp"
#include "tests/gateway/gateway_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::test;
using namespace skep::host;

namespace {

std::string post(const std::string& body, const std::string& path = "/v1/messages") {
  return "POST /api.test" + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: "
         + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// 4000 bytes, and what is around them.
const std::string long_prompt =
    R"({"model":"claude-haiku-4-5","max_tokens":100,"messages":")" + std::string(4000, 'x') + "\"}";
const std::uint64_t long_prompt_tokens = (long_prompt.size() + 3) / 4;

std::string ask_for(std::uint64_t max_tokens) {
  return R"({"model":"claude-haiku-4-5","max_tokens":)" + std::to_string(max_tokens) + "}";
}

const std::string stream_head =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

gateway_policy short_drain() {
  gateway_policy out;
  out.drain = std::chrono::milliseconds{100};
  return out;
}

struct short_drain_gateway : ruled_gateway {
  short_drain_gateway() : ruled_gateway(short_drain()) {}
};

void allow_micro_usd(running_gateway& g, std::uint64_t most) {
  g.with([most](gateway& x) { x.set_allowance({most, {}}); });
}

void check_estimate(const model_call& call, std::uint64_t output) {
  CHECK_FALSE(call.complete);
  CHECK(call.domain == "api.test");
  CHECK(call.model == "claude-haiku-4-5");
  CHECK(call.tokens.input == long_prompt_tokens);
  CHECK(call.tokens.output == output);
  CHECK(call.micro_usd == long_prompt_tokens + 5 * output);
}

void check_reserved(const answer& a) {
  CHECK(a.status == 429);
  CHECK(a.headers.at("x-skep-gateway") == "1");
  CHECK(a.headers.at("retry-after") == "2");
  CHECK_FALSE(a.has("x-should-retry"));
  auto body = json::parse(a.body);
  CHECK(body["type"] == "error");
  CHECK(body["error"]["type"] == "rate_limit_error");
}

} // namespace

// ---- calls without figures ------------------------------------------------------------------

TEST_CASE_METHOD(
    short_drain_gateway,
    "a client that hangs up before the answer begins pays for its prompt, by its bytes") {
  auto c = g.connect();
  c.send(post(long_prompt));
  auto there = upstream.accept();
  CHECK(there.read_answer().body == long_prompt);
  c.close();
  CHECK(there.at_end()); // nobody waits for it for ever
  check_estimate(only_call(g), 0);
  g.with([](gateway& x) { CHECK(x.spend().cut() == 1); });
  CHECK(g.counts().input_tokens == long_prompt_tokens);
}

TEST_CASE_METHOD(
    ruled_gateway,
    "a JSON answer that is cut half-way is counted by the prompt and by what came of it") {
  auto [c, there] = begin_call(post(long_prompt));
  there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
             R"({"content":[{"type":"text","text":"12345678"},{"type":"text","text":"1234)");
  there.close();
  c.read_header();
  check_estimate(only_call(g), 3);
}

TEST_CASE_METHOD(ruled_gateway,
                 "a stream that is cut before its first event is counted by its prompt") {
  auto [c, there] = begin_call(post(long_prompt));
  there.send(stream_head);
  c.read_header();
  there.close();
  CHECK(c.at_end());
  check_estimate(only_call(g), 0);
}

TEST_CASE_METHOD(ruled_gateway, "a call that is cut because its keys are revoked is counted") {
  auto [c, there] = begin_call(post(long_prompt));
  g.with([](gateway& x) { x.revoke_keys(); });
  CHECK(c.at_end());
  check_estimate(only_call(g), 0);
}

TEST_CASE_METHOD(ruled_gateway,
                 "a call that names no model and tells no figures has no known price") {
  auto [c, there] = begin_call(post("{}"));
  there.close();
  CHECK(c.read_answer().status == 502);
  auto call = only_call(g);
  CHECK(call.model.empty());
  CHECK(call.tokens.input == 1);
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

TEST_CASE("what Gemini's models think counts as output") {
  gate::usage_reader u("application/json", false);
  u.feed(R"({"modelVersion":"gemini-x","usageMetadata":{"promptTokenCount":5,)"
         R"("candidatesTokenCount":7,"thoughtsTokenCount":11}})");
  u.finish();
  CHECK(u.reported());
  CHECK(u.input_tokens() == 5);
  CHECK(u.output_tokens() == 18);
}

// ---- calls beside each other ----------------------------------------------------------------

TEST_CASE("calls under way reserve what they may cost, and the first one always has room") {
  reservation last;
  spend_ledger ledger({{"m", {1, 5, 0, 0}}});
  ledger.allow({100, {}});
  auto first = ledger.reserve({"m", {50, 0, 0, 100}});
  CHECK(first != nullptr);
  CHECK(ledger.reserve({"m", {1, 0, 0, 0}}) == nullptr);
  auto unpriced = ledger.reserve({"other", {1000, 0, 0, 1000}}); // counts as tokens alone
  CHECK(unpriced != nullptr);
  first.reset();
  auto second = ledger.reserve({"m", {50, 0, 0, 10}}); // up to the last micro-dollar
  CHECK(second != nullptr);
  CHECK(ledger.reserve({"m", {1, 0, 0, 0}}) == nullptr);
  second.reset();
  model_call spent;
  spent.model = "m";
  spent.tokens.input = 60;
  ledger.add(spent);
  CHECK(ledger.reserve({"m", {41, 0, 0, 0}}) == nullptr);
  CHECK(ledger.reserve({"m", {40, 0, 0, 0}}) != nullptr);
  ledger.allow({{}, 3000});
  CHECK(ledger.reserve({"m", {900, 0, 0, 41}}) == nullptr);
  last = ledger.reserve({"m", {900, 0, 0, 40}});
  CHECK(last != nullptr);
  ledger.allow({});
  CHECK(ledger.reserve({"m", {1'000'000, 0, 0, 1'000'000}}) != nullptr);
}

TEST_CASE_METHOD(ruled_gateway,
                 "of calls at the same time no more are let in than the allowance has room for") {
  allow_micro_usd(g, 1000);
  const auto body = ask_for(150); // 750 micro-dollars and its input
  const auto text = post(body);
  std::vector<raw_connection> waiting, half;
  for (int i = 0; i < 6; ++i) { // begun while nothing is spent, nor reserved
    waiting.push_back(g.connect());
    waiting.back().send(text.substr(0, text.size() - 1));
    half.push_back(upstream.accept());
    half.back().read_header();
  }
  auto c = g.connect();
  c.send(text);
  auto there = upstream.accept();
  CHECK(there.read_answer().body == body);
  for (auto& w : waiting) {
    w.send(text.substr(text.size() - 1));
    check_reserved(w.read_answer());
  }
  for (auto& h : half) // the upstream has never had a whole request
    CHECK(h.rest() == body.substr(0, body.size() - 1));
  CHECK(g.counts().requests == 1);

  const std::string used =
      R"({"model":"claude-haiku-4-5","usage":{"input_tokens":10,"output_tokens":2}})";
  there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
             + std::to_string(used.size()) + "\r\n\r\n" + used);
  CHECK(c.read_answer().status == 200);
  waiting[0].send(text); // what was reserved and not used is free again
  answer_with(upstream, "claude-haiku-4-5", 10, 2);
  CHECK(waiting[0].read_answer().status == 200);
  g.with([](gateway& x) {
    CHECK(x.spend().last() == 2);
    CHECK(x.spend().micro_usd() == 40);
  });
}

TEST_CASE_METHOD(
    ruled_gateway,
    "a request in chunks, or without a body, is held back like any other until it has room") {
  allow_micro_usd(g, 1000);
  auto first = begin_call(post(ask_for(150)));
  auto c = g.connect();
  c.send("POST /api.test/v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
         + chunk_of(ask_for(150)) + "0\r\n\r\n");
  check_reserved(c.read_answer());
  auto cut = upstream.accept().rest();
  CHECK(cut.find(ask_for(150)) != std::string::npos);
  CHECK_FALSE(cut.ends_with("0\r\n\r\n"));
  g.with([](gateway& x) { x.set_allowance({{}, 5000}); });
  c.send(post("")); // as if it had asked for 4096 tokens, beside 150 and the first one's input
  auto bare = upstream.accept();
  CHECK(bare.read_header().first_line == "POST /v1/messages HTTP/1.1");
  auto d = g.connect();
  d.send(post(""));
  check_reserved(d.read_answer());
  CHECK(upstream.accept().rest().empty());
}

TEST_CASE_METHOD(
    ruled_gateway,
    "calls one after another go on until the allowance is used up, whatever they ask for") {
  allow_micro_usd(g, 30);
  for (int i = 0; i < 3; ++i)
    CHECK(answered(post(ask_for(1'000'000)), "claude-haiku-4-5", 5, 1).status == 200);
  CHECK(g.request(post(ask_for(1))).status == 402);
}

TEST_CASE_METHOD(ruled_gateway,
                 "a request that began before the allowance was used up does not end after it") {
  allow_micro_usd(g, 30);
  const auto text = post(ask_for(10));
  auto slow = g.connect();
  slow.send(text.substr(0, text.size() - 1));
  auto half = upstream.accept();
  half.read_header();
  CHECK(answered(text, "claude-haiku-4-5", 30, 0).status == 200);
  slow.send(text.substr(text.size() - 1));
  CHECK(slow.read_answer().status == 402);
  CHECK(half.rest() == ask_for(10).substr(0, ask_for(10).size() - 1));
}

TEST_CASE_METHOD(short_drain_gateway, "a call gives its room back however it ends") {
  allow_micro_usd(g, 1'000'000);
  const auto text = post(ask_for(300'000)); // more than all of it: alone or not at all
  auto ended = [this](std::uint64_t counted) {
    auto last = std::chrono::steady_clock::now() + std::chrono::milliseconds{patience_ms};
    for (std::uint64_t n = 0; n != counted;) {
      g.with([&n](gateway& x) { n = x.spend().last(); });
      if (std::chrono::steady_clock::now() > last) give_up("the call was not counted");
    }
  };
  { // answered with an error
    auto [c, there] = begin_call(text);
    check_reserved(g.request(text)); // it is taken, and not by this test's mistake
    there.send("HTTP/1.1 529 Overloaded\r\nContent-Length: 2\r\n\r\n{}");
    CHECK(c.read_answer().status == 529);
    upstream.accept(); // the refused one's
  }
  { // not answered
    auto [c, there] = begin_call(text);
    there.close();
    CHECK(c.read_answer().status == 502);
    ended(1);
  }
  { // its client hangs up
    auto [c, there] = begin_call(text);
    c.close();
    CHECK(there.at_end());
    ended(2);
  }
  { // its keys are revoked
    auto [c, there] = begin_call(text);
    g.with([](gateway& x) { x.revoke_keys(); });
    CHECK(c.at_end());
    ended(3);
    g.allow(under_a_rule(upstream));
  }
  CHECK(answered(text, "claude-haiku-4-5", 1, 1).status == 200);
}
