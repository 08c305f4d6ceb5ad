#include "broker/requests.hpp"
#include "tests/support/catch.hpp"

#include <random>

using namespace skep;
using namespace skep::broker;
using namespace std::chrono_literals;

namespace {
errc refusal(gate at, std::string_view frame) {
  return parse_request(at, frame, "1.2.3").refusal.code;
}
} // namespace

TEST_CASE("a sound request passes with its key, command and body") {
  auto p = parse_request(gate::control, pack_request(42, "key-1", list_request{true}), "1.2.3");
  REQUIRE_FALSE(p.refusal);
  CHECK(p.request.id == 42);
  CHECK(p.request.key == "key-1");
  CHECK(p.request.command == command_traits<list_request>::number);
  CHECK(unpack<list_request>(p.request.body.data)->all);
}

TEST_CASE("requests are refused with the code that fits") {
  CHECK(refusal(gate::control, "") == errc::bad_frame);
  CHECK(refusal(gate::control, "hello") == errc::bad_frame);
  CHECK(refusal(gate::control, "\xc0") == errc::bad_frame);
  CHECK(refusal(gate::control, std::string(max_request_bytes + 1, 'x')) == errc::too_large);
  CHECK(refusal(gate::control, pack_request(1, {}, list_request{}) + "x") == errc::bad_frame);
  CHECK(refusal(gate::control, pack(request_frame{1, 1, {}, 999, {}})) == errc::unknown_command);
  CHECK(refusal(gate::control, pack(request_frame{1, 1, std::string(65, 'k'), 1, {}}))
        == errc::bad_frame);
  CHECK(refusal(gate::control, pack_request(1, {}, replay_request{})) == errc::unknown_command);
  CHECK(refusal(gate::replay, pack_request(1, {}, replay_request{})) == errc::none);
  CHECK(refusal(gate::replay, pack_request(1, {}, run_request{})) == errc::unknown_command);
}

TEST_CASE("a foreign version is answered with ours, whatever else the request holds") {
  // {1: 7, 2: 5, 4: "text where a number stands today"}
  std::string frame{"\x83\x01\x07\x02\x05\x04\xa4text"};
  auto p = parse_request(gate::control, frame, "1.2.3");
  CHECK(p.refusal.code == errc::wrong_version);
  CHECK(p.request.id == 5);
  CHECK(p.refusal.message.find("skepd 1.2.3 speaks protocol 1") != std::string::npos);
  CHECK(p.refusal.message.find("protocol 7") != std::string::npos);
}

TEST_CASE("a wrong field keeps the id of the request in the answer") {
  std::string frame{"\x83\x01\x01\x02\x05\x04\xa4text"};
  auto p = parse_request(gate::control, frame, "1.2.3");
  CHECK(p.refusal.code == errc::bad_frame);
  CHECK(p.request.id == 5);
  auto reply = unpack<reply_frame>(pack_refusal(5, p.refusal));
  REQUIRE(reply.ok());
  CHECK(reply->id == 5);
  CHECK(reply->failure.code == errc::bad_frame);
}

TEST_CASE("no damage of a request does more than refuse it") {
  std::mt19937 random{7}; // NOLINT: a fixed seed, so that a failure repeats
  run_request run;
  run.spec.prompts = {"do this", "do that"};
  run.spec.env = {{"A", "b"}};
  auto frame = pack_request(9, "key", run);
  for (std::size_t n = 0; n < frame.size(); ++n)
    CHECK(refusal(gate::control, std::string_view{frame}.substr(0, n)) == errc::bad_frame);
  for (int round = 0; round < 20'000; ++round) {
    auto damaged = frame;
    for (auto hits = 1 + random() % 5; hits > 0; --hits)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    auto p = parse_request(gate::control, damaged, "1.2.3");
    if (!p.refusal) (void)unpack<run_request>(p.request.body.data).ok();
  }
}

TEST_CASE("a client has a burst, then its rate, then is told how long to wait") {
  client_book book{{4, 2, 3, 10.0, 5.0}};
  client_book::time now{};
  for (int i = 0; i < 5; ++i)
    CHECK_FALSE(book.admit("a", now));
  auto e = book.admit("a", now);
  CHECK(e.code == errc::rate);
  CHECK(e.retry_after_ms == 100);
  CHECK_FALSE(book.admit("b", now));
  CHECK(book.admit("a", now + 99ms).code == errc::rate);
  CHECK_FALSE(book.admit("a", now + 100ms));
  CHECK(book.admit("a", now + 100ms).code == errc::rate);
  for (int i = 0; i < 5; ++i)
    CHECK_FALSE(book.admit("a", now + 1h));
  CHECK(book.admit("a", now + 1h).code == errc::rate);
}

TEST_CASE("requests in flight are bounded per client and in all") {
  client_book book{{4, 2, 3, 10.0, 5.0}};
  client_book::time now{};
  for (const auto* c : {"a", "b"})
    REQUIRE_FALSE(book.admit(c, now));
  CHECK_FALSE(book.begin("a"));
  CHECK_FALSE(book.begin("a"));
  CHECK(book.begin("a").code == errc::queue_full);
  CHECK_FALSE(book.begin("b"));
  CHECK(book.begin("b").code == errc::queue_full);
  book.end("a");
  CHECK_FALSE(book.begin("b"));
  CHECK(book.in_flight() == 3);
}

TEST_CASE("the book of clients does not grow: idle ones make room, busy ones do not") {
  client_book book{{2, 2, 8, 10.0, 5.0}};
  client_book::time now{};
  REQUIRE_FALSE(book.admit("a", now));
  REQUIRE_FALSE(book.begin("a"));
  REQUIRE_FALSE(book.admit("b", now + 1ms));
  CHECK_FALSE(book.admit("c", now + 2ms));
  CHECK(book.size() == 2);
  CHECK_FALSE(book.begin("c"));
  CHECK(book.admit("d", now + 3ms).code == errc::queue_full);
  book.end("a");
  CHECK_FALSE(book.admit("d", now + 4ms));
}
