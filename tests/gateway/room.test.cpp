// Calls at the same time get no more than there is room for: each reserves what it may cost, and
// waits where the others leave no room.
#include "host/gateway/account.hpp"
#include "tests/gateway/gateway_fixture.hpp"
#include "tests/support/catch.hpp"

#include <cerrno>
#include <thread>

using namespace skep;
using namespace skep::test;
using namespace skep::host;

namespace {

const std::string haiku = "claude-haiku-4-5";
const std::string sonnet = "claude-sonnet-4-5";

std::string ask_for(std::uint64_t max_tokens, const std::string& model = haiku) {
  return R"({"model":")" + model + R"(","max_tokens":)" + std::to_string(max_tokens) + "}";
}

gateway_policy short_idle() {
  gateway_policy out;
  out.idle = std::chrono::milliseconds{1000};
  return out;
}

struct short_idle_gateway : ruled_gateway {
  short_idle_gateway() : ruled_gateway(short_idle()) {}
};

void allow_micro_usd(running_gateway& g, std::uint64_t most) {
  g.with([most](gateway& x) { x.set_allowance({most, {}}); });
}

/// The upstream answers a call, and its client has the answer.
void end_call(call_under_way& call, const std::string& model, int input, int output) {
  answer_call(call.there, model, input, output);
  CHECK(call.client.read_answer().status == 200);
}

/// Nothing has come of late: for want of a sign it cannot tell what is still to come.
bool is_quiet(const raw_connection& c) {
  char first = 0;
  return ::recv(c.fd(), &first, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
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

TEST_CASE("calls under way reserve what they may cost, and the first one always has room") {
  reservation last;
  spend_ledger ledger({{"m", {1, 5, 0, 0}}});
  ledger.allow({100, {}});
  auto first = ledger.reserve({"m", {50, 0, 0, 100}});
  CHECK(first != nullptr);
  CHECK(ledger.reserve({"m", {1, 0, 0, 0}}) == nullptr);
  first.reset();
  auto second = ledger.reserve({"m", {50, 0, 0, 10}}); // up to the last micro-dollar
  CHECK(second != nullptr);
  CHECK(ledger.reserve({"m", {1, 0, 0, 0}}) == nullptr);
  second.reset();
  auto small = ledger.reserve({"m", {}}); // so that no other is the first
  CHECK(small != nullptr);
  model_call spent;
  spent.model = "m";
  spent.tokens.input = 60;
  ledger.add(spent);
  CHECK(ledger.reserve({"m", {41, 0, 0, 0}}) == nullptr);
  CHECK(ledger.reserve({"m", {40, 0, 0, 0}}) != nullptr);
  ledger.allow({{}, 3000});
  auto unpriced = ledger.reserve({"other", {1000, 0, 0, 1000}}); // as any other, in tokens
  CHECK(unpriced != nullptr);
  CHECK(ledger.reserve({"m", {900, 0, 0, 41}}) == nullptr);
  last = ledger.reserve({"m", {900, 0, 0, 40}});
  CHECK(last != nullptr);
  ledger.allow({});
  CHECK(ledger.reserve({"m", {1'000'000, 0, 0, 1'000'000}}) != nullptr);
}

TEST_CASE("a call without a known price takes all that is left of a budget in money") {
  spend_ledger ledger({{"m", {1, 5, 0, 0}}});
  ledger.allow({1'000'000, {}});
  const call_estimate unknown{"other", {1, 0, 0, 1}};
  const call_estimate known{"m", {1, 0, 0, 1}};
  auto taken = ledger.reserve(unknown);
  CHECK(taken != nullptr);
  for (int i = 0; i < 100; ++i)
    CHECK(ledger.reserve(unknown) == nullptr);
  CHECK(ledger.reserve(known) == nullptr);
  ledger.allow({2'000'000, {}}); // and what comes to it
  CHECK(ledger.reserve(known) == nullptr);
  taken.reset();
  taken = ledger.reserve(known);
  CHECK(taken != nullptr);
  CHECK(ledger.reserve(known) != nullptr);
  CHECK(ledger.reserve(unknown) == nullptr);
  ledger.allow({{}, 1'000'000});
  auto one = ledger.reserve(unknown);
  auto other = ledger.reserve(unknown);
  CHECK(one != nullptr);
  CHECK(other != nullptr);
}

TEST_CASE("those that wait have their turn in order, and a newcomer none before them") {
  spend_ledger ledger({{"m", {1, 5, 0, 0}}});
  ledger.allow({100, {}});
  auto taken = ledger.reserve({"m", {90, 0, 0, 0}});
  int first_turns = 0, second_turns = 0;
  auto first = ledger.line_up([&first_turns] { ++first_turns; });
  auto second = ledger.line_up([&second_turns] { ++second_turns; });
  CHECK(ledger.reserve({"m", {1, 0, 0, 0}}) == nullptr);
  CHECK(ledger.reserve({"m", {1, 0, 0, 0}}, second) == nullptr);
  ledger.allow({100, {}});
  CHECK(first_turns == 1);
  taken.reset();
  CHECK(first_turns == 2);
  taken = ledger.reserve({"m", {90, 0, 0, 0}}, first);
  CHECK(taken != nullptr);
  CHECK(second_turns == 0);
  first.reset();
  CHECK(second_turns == 1);
  CHECK(ledger.reserve({"m", {10, 0, 0, 0}}, second) != nullptr);
  second.reset();
  CHECK(ledger.reserve({"m", {10, 0, 0, 0}}) != nullptr);
}

TEST_CASE_METHOD(ruled_gateway,
                 "a call that has no room beside others waits for them, and is not refused") {
  allow_micro_usd(g, 1'000'000);
  const auto large = ask_for(64'000, sonnet); // 0.96 $
  const auto small = ask_for(10, sonnet);
  auto a = begin_call(post(large));
  auto b = begin_waiting(post(large));
  auto c = begin_waiting(post(small)); // had room at once, and comes after the other all the same
  CHECK(is_quiet(b.client));
  CHECK(is_quiet(c.client));
  end_call(a, sonnet, 10, 2);
  CHECK(b.there.take(large.size()) == large);
  CHECK(c.there.take(small.size()) == small); // beside it
  end_call(c, sonnet, 10, 2);
  end_call(b, sonnet, 10, 2);
  g.with([](gateway& x) {
    CHECK(x.spend().last() == 3);
    CHECK(x.spend().micro_usd() == 180);
  });
  CHECK(g.counts().requests == 3);
  CHECK(g.counts().refused == 0);
}

TEST_CASE_METHOD(ruled_gateway, "a client that hangs up while its call waits leaves its place") {
  allow_micro_usd(g, 1'000'000);
  const auto large = ask_for(64'000, sonnet);
  auto a = begin_call(post(large));
  auto b = begin_waiting(post(large));
  auto c = begin_waiting(post(large));
  b.client.close();
  CHECK(b.there.at_end()); // at once: it has cost nothing, and nothing of it is read on
  end_call(a, sonnet, 10, 2);
  CHECK(c.there.take(large.size()) == large);
  end_call(c, sonnet, 10, 2);
  g.with([](gateway& x) { CHECK(x.spend().last() == 2); });
}

TEST_CASE_METHOD(short_idle_gateway,
                 "a call that has waited as long as a request may be idle is told to come again") {
  allow_micro_usd(g, 1'000'000);
  const auto large = ask_for(64'000, sonnet);
  auto a = begin_call(post(large));
  a.there.send(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  a.client.read_header();
  std::jthread goes_on([&a](const std::stop_token& stop) { // as long as the other waits
    const auto event = chunk_of("data: {\"delta\":{\"text\":\"x\"}}\n\n");
    try {
      while (!stop.stop_requested() && a.there.try_send(event))
        a.client.next_piece();
    } catch (const std::runtime_error&) { // then the other one is let in, and that is seen below
    }
  });
  auto b = begin_waiting(post(large));
  check_reserved(b.client.read_answer());
  CHECK(b.there.at_end()); // the upstream has never had a whole request
  CHECK(g.counts().requests == 1);
}

TEST_CASE_METHOD(ruled_gateway, "a call that waits is refused when nothing is left to wait for") {
  allow_micro_usd(g, 1000);
  auto a = begin_call(post(ask_for(150)));
  auto b = begin_waiting(post(ask_for(150)));
  auto c = begin_waiting(post(ask_for(150)));
  end_call(a, haiku, 1000, 0);
  CHECK(b.client.read_answer().status == 402);
  CHECK(c.client.read_answer().status == 402);
  CHECK(b.there.at_end());
  CHECK(c.there.at_end());
}

TEST_CASE_METHOD(ruled_gateway,
                 "a call that waits goes on when more is allowed, and ends with the keys") {
  allow_micro_usd(g, 1000);
  const auto body = ask_for(150);
  auto a = begin_call(post(body));
  auto b = begin_waiting(post(body));
  allow_micro_usd(g, 2000);
  CHECK(b.there.take(body.size()) == body);
  auto c = begin_waiting(post(body));
  g.with([](gateway& x) { x.revoke_keys(); });
  CHECK(c.client.at_end());
  CHECK(c.there.at_end());
}

TEST_CASE_METHOD(ruled_gateway,
                 "an upstream that ends the connection of a call that waits ends its wait") {
  allow_micro_usd(g, 1000);
  auto a = begin_call(post(ask_for(150)));
  auto b = begin_waiting(post(ask_for(150)));
  b.there.close();
  check_reserved(b.client.read_answer());
  end_call(a, haiku, 10, 2);
  g.with([](gateway& x) { CHECK(x.spend().last() == 1); });
}

TEST_CASE_METHOD(ruled_gateway,
                 "of calls at the same time no more are let in than the allowance has room for") {
  allow_micro_usd(g, 1000);
  const auto body = ask_for(150); // 750 micro-dollars and its input
  const auto text = post(body);
  std::vector<call_under_way> waiting;
  for (int i = 0; i < 6; ++i) { // begun while nothing is spent, nor reserved
    auto client = g.connect();
    client.send(text.substr(0, text.size() - 1));
    waiting.push_back({std::move(client), upstream.accept()});
    waiting.back().there.read_header();
    waiting.back().there.take(body.size() - 1);
  }
  auto first = begin_call(text);
  for (auto& w : waiting) {
    auto read = g.counts().bytes_in + 1;
    w.client.send(text.substr(text.size() - 1));
    await_bytes_in(g, read);
  }
  for (auto& w : waiting) // the upstream has never had a whole request
    CHECK(is_quiet(w.there));
  end_call(first, haiku, 10, 2);
  for (std::size_t i = 0; i < waiting.size(); ++i) { // what was reserved and not used is free again
    CHECK(waiting[i].there.take(1) == "}");
    if (i + 1 < waiting.size()) CHECK(is_quiet(waiting[i + 1].there));
    end_call(waiting[i], haiku, 10, 2);
  }
  CHECK(g.counts().requests == 7);
  g.with([](gateway& x) {
    CHECK(x.spend().last() == 7);
    CHECK(x.spend().micro_usd() == 140);
  });
}

TEST_CASE_METHOD(
    ruled_gateway,
    "a request in chunks, or without a body, is held back like any other until it has room") {
  allow_micro_usd(g, 1000);
  auto first = begin_call(post(ask_for(150)));
  auto chunked = g.connect();
  chunked.send(
      "POST /api.test/v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      + chunk_of(ask_for(150)) + "0\r\n\r\n");
  auto there = upstream.accept();
  there.read_header();
  CHECK(there.next_piece() == ask_for(150));
  CHECK(is_quiet(there));
  end_call(first, haiku, 10, 2);
  CHECK_FALSE(there.next_piece());
  answer_call(there, haiku, 10, 2);
  CHECK(chunked.read_answer().status == 200);
  g.with([](gateway& x) { x.set_allowance({{}, 5000}); });
  auto bare = begin_call(post("")); // as if it had asked for 4096 tokens
  auto other = g.connect();
  other.send(post(""));
  auto nothing = upstream.accept();
  CHECK(is_quiet(nothing));
  end_call(bare, haiku, 10, 2);
  CHECK(nothing.read_header().first_line == "POST /v1/messages HTTP/1.1");
}

TEST_CASE_METHOD(
    ruled_gateway,
    "calls one after another go on until the allowance is used up, whatever they ask for") {
  allow_micro_usd(g, 30);
  for (int i = 0; i < 3; ++i)
    CHECK(answered(post(ask_for(1'000'000)), haiku, 5, 1).status == 200);
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
  CHECK(answered(text, haiku, 30, 0).status == 200);
  slow.send(text.substr(text.size() - 1));
  CHECK(slow.read_answer().status == 402);
  CHECK(half.rest() == ask_for(10).substr(0, ask_for(10).size() - 1));
}

TEST_CASE_METHOD(short_drain_gateway, "a call gives its room back however it ends") {
  const auto body = ask_for(300'000); // 1.5 $
  const auto text = post(body);
  auto two_dollars_more = [this] {
    g.with([](gateway& x) { x.set_allowance({x.spend().micro_usd() + 2'000'000, {}}); });
  };
  auto goes_on = [&body](call_under_way& call) {
    CHECK(call.there.take(body.size()) == body);
    end_call(call, haiku, 1, 1);
  };
  { // answered with an error
    two_dollars_more();
    auto a = begin_call(text);
    auto b = begin_waiting(text);
    a.there.send("HTTP/1.1 529 Overloaded\r\nContent-Length: 2\r\n\r\n{}");
    CHECK(a.client.read_answer().status == 529);
    goes_on(b);
  }
  { // not answered
    two_dollars_more();
    auto a = begin_call(text);
    auto b = begin_waiting(text);
    a.there.close();
    CHECK(a.client.read_answer().status == 502);
    goes_on(b);
  }
  { // its client hangs up
    two_dollars_more();
    auto a = begin_call(text);
    auto b = begin_waiting(text);
    a.client.close();
    CHECK(a.there.at_end());
    goes_on(b);
  }
  { // its keys are revoked
    two_dollars_more();
    auto a = begin_call(text);
    g.with([](gateway& x) { x.revoke_keys(); });
    CHECK(a.client.at_end());
    g.allow(under_a_rule(upstream));
  }
  CHECK(answered(text, haiku, 1, 1).status == 200);
  g.with([](gateway& x) { CHECK(x.spend().last() == 7); });
}
