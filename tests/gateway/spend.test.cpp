// What calls of models cost, how much a sandbox may spend, and the end of its keys.
#include "host/gateway/spend.hpp"
#include "host/gateway/usage.hpp"
#include "messages/json.hpp"
#include "tests/gateway/gateway_fixture.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::test;
using namespace skep::host;

namespace {

model_call call_of(const std::string& model, token_usage tokens) {
  model_call out;
  out.model = model;
  out.tokens = tokens;
  return out;
}

const std::string model_request =
    "POST /api.test/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

} // namespace

TEST_CASE("a call costs what its model's price says, each kind of token by its own") {
  spend_ledger ledger({{"m", {3, 15, 3.75, 0.5}}, {"m-small", {1, 2, 3, 4}}});
  ledger.add(call_of("m-20250101", {100, 8, 4, 10}));
  CHECK(ledger.after(0).at(0).micro_usd == 300 + 30 + 2 + 150);
  ledger.add(call_of("m-small-1", {1, 1, 1, 1}));
  CHECK(ledger.after(1).at(0).micro_usd == 10);
  ledger.add(call_of("m", {0, 0, 1, 0})); // half a micro-dollar is one
  CHECK(ledger.after(2).at(0).micro_usd == 1);
  CHECK(ledger.micro_usd() == 493);
  CHECK(ledger.tokens() == 127);
  CHECK(ledger.models().at("m-20250101").micro_usd == 482);
}

TEST_CASE("an hour in the cache costs twice the input, and a search of the web a cent") {
  spend_ledger ledger({{"m", {3, 15, 3.75, 0.5}}});
  ledger.add(call_of("m", {10, 100, 0, 1, 40, 2}));
  CHECK(ledger.after(0).at(0).micro_usd == 30 + 225 + 240 + 15 + 20'000);
  CHECK(ledger.tokens() == 111); // the 40 are of the 100, and a search is no token
  CHECK(ledger.models().at("m").tokens.cache_write_1h == 40);
  CHECK(ledger.models().at("m").tokens.web_searches == 2);
  ledger.add(call_of("m", {0, 1, 0, 0, 9, 0})); // more of them than there are: no less than none
  CHECK(ledger.after(1).at(0).micro_usd == 6);
}

TEST_CASE("what is cached for an hour and what is searched is read, streamed or not") {
  const std::string cached =
      R"("cache_creation_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":60,)"
      R"("ephemeral_1h_input_tokens":40})";
  const std::string searched = R"("server_tool_use":{"web_search_requests":2})";
  auto check = [](const char* type, const std::string& text) {
    gate::usage_reader u(type, false);
    u.feed(text);
    u.finish();
    CHECK(u.tokens().cache_write == 100);
    CHECK(u.tokens().cache_write_1h == 40);
    CHECK(u.tokens().web_searches == 2);
    CHECK(u.tokens().all() == 104);
  };
  check("application/json",
        R"({"usage":{"input_tokens":1,"output_tokens":3,)" + cached + "," + searched + "}}");
  check("text/event-stream", R"(data: {"message":{"usage":{"input_tokens":1,)" + cached + "}}}\n\n"
                                 + R"(data: {"usage":{"output_tokens":3,)" + searched + "}}\n\n");
}

TEST_CASE("the cost of a model without a known price is unknown, not nothing") {
  spend_ledger ledger({{"m", {3, 15, 3.75, 0.3}}});
  ledger.add(call_of("other", {100, 0, 0, 10}));
  ledger.add(call_of("", {1, 0, 0, 1}));
  CHECK_FALSE(ledger.after(0).at(0).micro_usd);
  CHECK_FALSE(ledger.models().at("other").micro_usd);
  CHECK(ledger.models().at("unknown").calls == 1);
  CHECK(ledger.unpriced() == 2);
  CHECK(ledger.micro_usd() == 0);
  ledger.allow({1'000'000, {}}); // it may have been all of it
  CHECK(ledger.used_up());
  ledger.allow({{}, 113});
  CHECK_FALSE(ledger.used_up());
  ledger.allow({{}, 112});
  CHECK(ledger.used_up());
}

TEST_CASE("a reader goes on after the last number it saw, and learns what it missed") {
  spend_ledger ledger(price_table{});
  CHECK(ledger.last() == 0);
  CHECK(ledger.oldest() == 1);
  for (std::size_t i = 0; i < spend_ledger::kept + 5; ++i)
    ledger.add(call_of("m", {1, 0, 0, 0}));
  CHECK(ledger.last() == spend_ledger::kept + 5);
  CHECK(ledger.oldest() == 6);
  CHECK(ledger.after(0).size() == spend_ledger::kept);
  auto more = ledger.after(spend_ledger::kept + 3);
  REQUIRE(more.size() == 2);
  CHECK(more[0].seq == spend_ledger::kept + 4);
  CHECK(ledger.after(ledger.last()).empty());
  CHECK(ledger.models().at("m").calls == spend_ledger::kept + 5);
}

TEST_CASE("whoever names a new model with every call fills no memory") {
  spend_ledger ledger(price_table{});
  for (int i = 0; i < 500; ++i)
    ledger.add(call_of("m" + std::to_string(i), {1, 0, 0, 0}));
  CHECK(ledger.models().size() == spend_ledger::most_models + 1);
  CHECK(ledger.models().at("other").calls == 400);
}

TEST_CASE("a price is four numbers, and the longest known beginning of a name counts") {
  CHECK(parse_price("3,15,3.75,0.3")->cache_write == 3.75);
  for (const char* bad :
       {"", "3", "3,15,3.75", "3,15,3.75,0.3,", "3,15,3.75,-1", "a,b,c,d", "3,,1,1", "3, 15,1,1",
        "nan,1,1,1", "inf,1,1,1", "1e3,1,1,1", "2000000,1,1,1"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_price(bad));
  }
  CHECK(price_of(known_prices(), "claude-haiku-4-5-20251001")->input == 1);
  CHECK(price_of(known_prices(), "claude-3-5-haiku-20241022")->input == 0.80);
  CHECK_FALSE(price_of(known_prices(), "claude"));
  CHECK_FALSE(price_of(known_prices(), "gpt-x"));
}

TEST_CASE("model and tokens are read from a stream that is cut anywhere, without inventing any") {
  const std::string stream =
      "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-1\","
      "\"usage\":{\"input_tokens\":30,\"cache_creation_input_tokens\":20,"
      "\"cache_read_input_tokens\":10,\"output_tokens\":1}}}\n\n"
      "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"usage\\\":{}\"}}\n\n"
      "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":42}}\n\n";
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    gate::usage_reader u("text/event-stream", false);
    u.feed(std::string_view{stream}.substr(0, cut));
    u.finish();
    const auto& t = u.tokens();
    REQUIRE((t.output == 0 || t.output == 1 || t.output == 42));
    REQUIRE(u.seen() == (t.output > 0));
    if (u.seen()) REQUIRE((t.input == 30 && t.cache_write == 20 && t.cache_read == 10));
    if (u.seen()) REQUIRE(u.model() == "m-1");
  }
}

TEST_CASE("an allowance that is used up is answered with 402, which no client repeats") {
  tcp_listener upstream;
  running_gateway g(under_a_rule(upstream));
  g.with([](gateway& x) { x.set_allowance({{}, 10}); });
  auto c = g.connect();
  c.send(model_request);
  answer_with(upstream, "m", 6, 4);
  CHECK(c.read_answer().status == 200);
  c.send(model_request);
  auto refused = c.read_answer();
  CHECK(refused.status == 402);
  CHECK(json::parse(refused.body)["error"]["type"] == "billing_error");
  CHECK(refused.headers["x-should-retry"] == "false");
  g.with([](gateway& x) { x.set_allowance({{}, 11}); });
  c.send(model_request);
  answer_with(upstream, "m", 1, 1);
  CHECK(c.read_answer().status == 200);
  g.with([](gateway& x) {
    CHECK(x.spend().last() == 2);
    CHECK(x.spend().tokens() == 12);
    CHECK(x.spend().unpriced() == 2);
  });
}

TEST_CASE("a call whose answer is cut is counted as far as it told, and marked") {
  tcp_listener upstream;
  running_gateway g(under_a_rule(upstream));
  {
    auto c = g.connect();
    c.send(model_request);
    auto there = upstream.accept();
    there.read_answer();
    there.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string event = "data: {\"message\":{\"model\":\"claude-haiku-4-5\",\"usage\":"
                              "{\"input_tokens\":7,\"output_tokens\":2}}}\n\n";
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", event.size());
    there.send(size + event + "\r\n");
    c.read_header();
    CHECK(c.next_piece() == event);
    g.with([](gateway& x) { // its sandbox may be gone before it ends
      CHECK(x.spend().micro_usd() == 0);
      CHECK(x.spend().under_way_micro_usd() == 17);
    });
    there.close();
    CHECK(c.at_end());
  }
  g.with([](gateway& x) {
    CHECK(x.spend().under_way_micro_usd() == 0);
    auto calls = x.spend().after(0);
    REQUIRE(calls.size() == 1);
    CHECK_FALSE(calls[0].complete);
    CHECK(calls[0].domain == "api.test");
    CHECK(calls[0].tokens.input == 7);
    CHECK(calls[0].micro_usd == 17);
  });
}

TEST_CASE("keys that are revoked are gone at once, also for a request that is under way") {
  tcp_listener upstream;
  running_gateway g(under_a_rule(upstream));
  auto waiting = g.connect();
  waiting.send(model_request);
  auto there = upstream.accept();
  CHECK(there.read_answer().headers["x-api-key"] == "real-key");
  g.with([](gateway& x) { x.revoke_keys(); });
  CHECK(waiting.at_end());
  CHECK(there.at_end());
  auto refused = g.request(model_request);
  CHECK(refused.status == 403);
  CHECK(refused.body.find("revoked") != std::string::npos);
  g.allow(under_a_rule(upstream)); // new keys
  auto c = g.connect();
  c.send(model_request);
  answer_with(upstream, "m", 1, 1);
  CHECK(c.read_answer().status == 200);
}

TEST_CASE("a request that was cut while it connected does not close its connection to new keys") {
  tcp_listener silent, upstream;
  auto access = under_a_rule(silent);
  access.rules[0].upstream_override = "https://127.0.0.1:" + std::to_string(silent.port());
  running_gateway g(access);
  auto c = g.connect();
  c.send(model_request);
  auto there = silent.accept(); // and never answers the handshake
  g.with([](gateway& x) { x.revoke_keys(); });
  there.close();
  CHECK(c.read_answer().status == 403);
  g.allow(under_a_rule(upstream));
  c.send(model_request);
  answer_with(upstream, "m", 1, 1);
  CHECK(c.read_answer().status == 200);
}

namespace {

const std::string stream_begins =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunk_of("data: {\"message\":{\"model\":\"claude-haiku-4-5\",\"usage\":"
               "{\"input_tokens\":7,\"output_tokens\":1}}}\n\n");

} // namespace

TEST_CASE("a client that hangs up hides nothing: the answer is read to its end and counted whole") {
  tcp_listener upstream;
  running_gateway g(under_a_rule(upstream));
  auto c = g.connect();
  c.send(model_request);
  auto there = upstream.accept();
  there.read_answer();
  there.send(stream_begins);
  c.read_header();
  c.next_piece();
  c.close();
  there.send(chunk_of("data: {\"delta\":{\"text\":\"and what nobody reads\"}}\n\n"));
  there.send(chunk_of("data: {\"usage\":{\"output_tokens\":500}}\n\n") + "0\r\n\r\n");
  auto call = only_call(g);
  CHECK(call.tokens.output == 500);
  CHECK(call.complete);
  g.with([](gateway& x) { CHECK(x.spend().cut() == 0); });
}

TEST_CASE("an answer that goes on for long without its client is cut, and its text is estimated") {
  gateway_policy policy;
  policy.drain = std::chrono::milliseconds{200};
  tcp_listener upstream;
  running_gateway g(under_a_rule(upstream), policy);
  auto c = g.connect();
  c.send(model_request);
  auto there = upstream.accept();
  there.read_answer();
  there.send(stream_begins);
  c.read_header();
  c.next_piece();
  c.close();
  there.send(chunk_of("data: {\"delta\":{\"text\":\"" + std::string(400, 'x') + "\"}}\n\n"));
  CHECK(there.at_end()); // a generation that nobody reads costs money
  auto call = only_call(g);
  CHECK_FALSE(call.complete);
  CHECK(call.tokens.input == 7);
  CHECK(call.tokens.output == 100);
  g.with([](gateway& x) { CHECK(x.spend().cut() == 1); });
}

TEST_CASE("an answer without end is not read beyond its bound when its client has gone") {
  gateway_policy policy;
  policy.drain_bytes = 64 * 1024;
  tcp_listener upstream;
  running_gateway g(under_a_rule(upstream), policy);
  auto c = g.connect();
  c.send(model_request);
  auto there = upstream.accept();
  there.read_answer();
  there.send(stream_begins);
  c.read_header();
  c.next_piece();
  c.close();
  auto event = chunk_of("data: {\"delta\":{\"text\":\"" + std::string(4000, 'x') + "\"}}\n\n");
  bool taken = true;
  for (int i = 0; taken && i < 10'000; ++i)
    taken = there.try_send(event);
  CHECK_FALSE(taken);
  CHECK_FALSE(only_call(g).complete);
}

TEST_CASE("the text of a cut stream is counted by four bytes a token, unless it told more") {
  auto output = [](const std::string& stream, bool complete) {
    gate::usage_reader u("text/event-stream", false);
    u.feed(stream);
    u.finish(complete);
    return u.output_tokens();
  };
  const std::string begin =
      "data: {\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n";
  const std::string text =
      "data: {\"delta\":{\"type\":\"text_delta\",\"text\":\"a \\\"quoted\\\" b\"}}\n";
  CHECK(output(begin + text, true) == 1); // whole answers are believed
  CHECK(output(begin + text, false) == 4);
  CHECK(output(begin + "data: {\"delta\":{\"partial_json\": \"12345678\"}}\n", false) == 2);
  CHECK(output(begin + "data: {\"choices\":[{\"delta\":{\"content\":\"12345\"}}]}\n", false) == 2);
  CHECK(output(begin + text + "data: {\"usage\":{\"output_tokens\":90}}\n", false) == 90);
  CHECK(output(begin + "data: {\"delta\":{\"text\":\"never closed", false) == 3);
  CHECK(output("data: {\"delta\":{\"text\":\"\\\\\"}}\n", false) == 1);
}
