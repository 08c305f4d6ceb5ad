#include "broker/events_client.hpp"
#include "broker/output_client.hpp"
#include "tests/broker/fake_world.hpp"
#include "tests/support/catch.hpp"

#include <atomic>
#include <zmq.hpp>

using namespace skep;
using namespace skep::broker;
using namespace skep::broker_test;

namespace {

const swarm_id one{"sw_one"}, two{"sw_two"};
const sandbox_id box_a{"sb_a"}, box_b{"sb_b"}, box_c{"sb_c"};

std::string text_of(const received_event& e) {
  auto x = interpret(e.event);
  if (!x) return "?";
  const auto* n = std::get_if<notice>(&*x);
  return n != nullptr ? n->text : "?";
}

/// Reads until `count` events came or 10 s passed; texts in order. Sequences must grow.
std::vector<std::string> read_texts(event_stream& s, std::size_t count) {
  std::vector<std::string> out;
  std::uint64_t last = 0;
  auto end = std::chrono::steady_clock::now() + 10s;
  while (out.size() < count && std::chrono::steady_clock::now() < end) {
    auto e = s.next(200ms);
    if (!e) {
      FAIL("next: " << render(e.err()));
      break;
    }
    if (!*e) continue;
    CHECK((*e)->seq > last);
    last = (*e)->seq;
    out.push_back(text_of(**e));
  }
  return out;
}

std::vector<std::string> numbered(int from, int to, const std::string& prefix = "n") {
  std::vector<std::string> out;
  for (int i = from; i < to; ++i)
    out.push_back(prefix + std::to_string(i));
  return out;
}

follow_policy quick() {
  follow_policy p;
  p.tail_check = 100ms;
  p.silence = 200ms;
  return p;
}

} // namespace

TEST_CASE("history comes first, then what happens, every event once") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  for (int i = 0; i < 300; i += 3)
    journal->append(one, box_a, numbered(i, i + 3));
  fake_edge edge{dir.path, journal};
  auto policy = quick();
  policy.page_chunks = 7;
  auto s = event_stream::follow(edge.where, 1, {}, policy);
  REQUIRE(s.ok());
  CHECK(s->stream_id() == "st_test");
  CHECK(s->head() == 300);
  for (int i = 300; i < 360; i += 3)
    edge.emit(one, box_a, numbered(i, i + 3));
  CHECK(read_texts(*s, 360) == numbered(0, 360));
  CHECK(s->gaps() == 0);
  CHECK_FALSE(s->next(100ms)->has_value());
}

TEST_CASE("following begins inside a chunk when asked to, or with what comes next") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  journal->append(one, box_a, numbered(1, 11));
  fake_edge edge{dir.path, journal};
  auto middle = event_stream::follow(edge.where, 6, {}, quick());
  auto live = event_stream::follow(edge.where, 0, {}, quick());
  REQUIRE(middle.ok());
  REQUIRE(live.ok());
  edge.emit(one, box_a, numbered(11, 13));
  CHECK(read_texts(*middle, 7) == numbered(6, 13));
  CHECK(read_texts(*live, 2) == numbered(11, 13));
}

TEST_CASE("a selection holds the events of its swarm or sandbox and no others") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  fake_edge edge{dir.path, journal};
  edge.emit(one, box_a, {"a1"});
  edge.emit(two, box_c, {"c1"});
  auto swarm = event_stream::follow(edge.where, 1, {one, {}}, quick());
  auto box = event_stream::follow(edge.where, 1, {one, box_b}, quick());
  auto live = event_stream::follow(edge.where, 0, {one, {}}, quick());
  REQUIRE(swarm.ok());
  REQUIRE(box.ok());
  REQUIRE(live.ok());
  edge.emit(one, box_b, {"b1", "b2"});
  edge.emit(two, box_c, {"c2"});
  edge.emit({}, {}, {"daemon"});
  edge.emit(one, {}, {"swarm"});
  edge.emit(one, box_a, {"a2"});
  edge.emit(one, box_b, {"b3"});
  CHECK(read_texts(*swarm, 6) == std::vector<std::string>{"a1", "b1", "b2", "swarm", "a2", "b3"});
  CHECK(read_texts(*box, 3) == std::vector<std::string>{"b1", "b2", "b3"});
  CHECK(read_texts(*live, 5) == std::vector<std::string>{"b1", "b2", "swarm", "a2", "b3"});
  CHECK(swarm->gaps() == 0);
  CHECK(box->gaps() == 0);
  CHECK(event_stream::follow(edge.where, 1, {{}, box_b}).err().code == errc::bad_argument);
}

TEST_CASE("a subscriber that is too slow loses frames, notices and has every event once") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  fake_edge edge{dir.path, journal, {}, {}, 4};
  auto policy = quick();
  policy.receive_high_water = 4;
  auto all = event_stream::follow(edge.where, 1, {}, policy);
  auto swarm = event_stream::follow(edge.where, 1, {one, {}}, policy);
  REQUIRE(all.ok());
  REQUIRE(swarm.ok());
  const std::string padding(8000, 'x'); // more than the kernel keeps in the socket
  edge.emit(one, box_a, {"first"});
  CHECK(read_texts(*all, 1).size() == 1);
  CHECK(read_texts(*swarm, 1).size() == 1);
  std::vector<std::string> expected;
  for (int i = 0; i < 1000; ++i) {
    expected.push_back(std::to_string(i) + padding);
    edge.emit(one, box_a, {expected.back()});
  }
  CHECK(read_texts(*all, 1000) == expected);
  CHECK(read_texts(*swarm, 1000) == expected);
  CHECK(all->gaps() > 0);
  // Live again after the gap.
  edge.emit(one, box_a, {"later"});
  CHECK(read_texts(*all, 1) == std::vector<std::string>{"later"});
  CHECK(read_texts(*swarm, 1) == std::vector<std::string>{"later"});
}

TEST_CASE("a lost tail is noticed without another event") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  fake_edge edge{dir.path, journal};
  auto all = event_stream::follow(edge.where, 1, {}, quick());
  auto swarm = event_stream::follow(edge.where, 1, {one, {}}, quick());
  REQUIRE(all.ok());
  REQUIRE(swarm.ok());
  edge.emit(one, box_a, {"seen"});
  CHECK(read_texts(*all, 1).size() == 1);
  CHECK(read_texts(*swarm, 1).size() == 1);
  journal->append(one, box_a, {"lost"}); // committed, its frame never arrives
  edge.emit(two, box_c, {"of another swarm"});
  CHECK(read_texts(*all, 2) == std::vector<std::string>{"lost", "of another swarm"});
  CHECK(read_texts(*swarm, 1) == std::vector<std::string>{"lost"});
}

TEST_CASE("the stream goes on where it was when the daemon comes back") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  auto edge = std::make_unique<fake_edge>(dir.path, journal);
  auto s = event_stream::follow(edge->where, 1, {}, quick());
  REQUIRE(s.ok());
  edge->emit(one, box_a, {"before"});
  CHECK(read_texts(*s, 1) == std::vector<std::string>{"before"});
  edge->emit(one, box_a, {"last words"});
  edge.reset();
  errc seen = errc::none;
  std::vector<std::string> texts;
  for (int i = 0; i < 50 && seen == errc::none; ++i) {
    auto e = s->next(200ms);
    if (!e)
      seen = e.err().code;
    else if (*e)
      texts.push_back(text_of(**e));
  }
  CHECK(seen == errc::no_daemon);
  journal->append(one, box_a, {"while away"});
  edge = std::make_unique<fake_edge>(dir.path, journal);
  edge->emit(one, box_a, {"after"});
  auto end = std::chrono::steady_clock::now() + 10s;
  while (texts.size() < 3 && std::chrono::steady_clock::now() < end)
    if (auto e = s->next(200ms); e && *e) texts.push_back(text_of(**e));
  CHECK(texts == std::vector<std::string>{"last words", "while away", "after"});
}

TEST_CASE("another journal behind the same sockets is told, not mixed in") {
  scratch_dir dir;
  auto edge = std::make_unique<fake_edge>(dir.path, std::make_shared<memory_journal>());
  auto s = event_stream::follow(edge->where, 1, {}, quick());
  REQUIRE(s.ok());
  edge.reset();
  auto other = std::make_shared<memory_journal>();
  other->stream_id = "st_other";
  other->append(one, box_a, {"foreign"});
  edge = std::make_unique<fake_edge>(dir.path, other);
  errc seen = errc::none;
  auto end = std::chrono::steady_clock::now() + 10s;
  while (seen != errc::stream_changed && std::chrono::steady_clock::now() < end) {
    auto e = s->next(200ms);
    if (!e)
      seen = e.err().code;
    else
      CHECK_FALSE(e->has_value());
  }
  CHECK(seen == errc::stream_changed);
}

TEST_CASE("history that was trimmed is told with the oldest sequence") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  journal->append(one, box_a, numbered(1, 11));
  journal->append(one, box_a, numbered(11, 21));
  journal->trim(11);
  fake_edge edge{dir.path, journal};
  auto s = event_stream::follow(edge.where, 1, {}, quick());
  REQUIRE(s.ok());
  auto e = s->next(1s);
  REQUIRE_FALSE(e.ok());
  CHECK(e.err().code == errc::compacted);
  CHECK(e.err().message == "oldest=11");
  auto kept = event_stream::follow(edge.where, 11, {}, quick());
  REQUIRE(kept.ok());
  CHECK(read_texts(*kept, 10) == numbered(11, 21));
}

namespace {

/// Admits 2 requests at once and then one every 5 ms.
control_limits tight() {
  control_limits l;
  l.burst = 2;
  l.requests_per_second = 200;
  return l;
}

/// Admits one request, and the next after hours.
control_limits closed() {
  control_limits l;
  l.burst = 1;
  l.requests_per_second = 0.0001;
  return l;
}

} // namespace

TEST_CASE("a history of more pages than the daemon admits in a second is read to its end") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  for (int i = 0; i < 40; ++i)
    journal->append(one, box_a, {"n" + std::to_string(i)});
  fake_edge edge{dir.path, journal, {}, tight()};
  auto policy = quick();
  policy.page_chunks = 1;
  auto s = event_stream::follow(edge.where, 1, {}, policy);
  REQUIRE(s.ok());
  CHECK(read_texts(*s, 40) == numbered(0, 40));
  CHECK(journal->replays() == 40); // each page was answered once
}

TEST_CASE("a daemon that admits the next page only after its deadline is not waited for") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  journal->append(one, box_a, {"first"});
  journal->append(one, box_a, {"second"});
  fake_edge edge{dir.path, journal, {}, closed()};
  auto policy = quick();
  policy.page_chunks = 1;
  auto s = event_stream::follow(edge.where, 1, {}, policy);
  REQUIRE(s.ok());
  CHECK(read_texts(*s, 1) == std::vector<std::string>{"first"});
  auto e = s->next(1s);
  REQUIRE_FALSE(e.ok());
  CHECK(e.err().code == errc::rate);
  CHECK(e.err().retry_after_ms > policy.page.count());
}

TEST_CASE("a subscriber that never reads delays nobody") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  fake_edge edge{dir.path, journal, {}, {}, 10};
  zmq::context_t context{1};
  zmq::socket_t sleeper{context, zmq::socket_type::sub};
  sleeper.set(zmq::sockopt::linger, 0);
  sleeper.set(zmq::sockopt::rcvhwm, 1);
  sleeper.set(zmq::sockopt::subscribe, "");
  sleeper.connect("ipc://" + edge.where.events);
  auto s = event_stream::follow(edge.where, 1, {}, quick());
  REQUIRE(s.ok());
  const std::string padding(4000, 'x');
  for (int i = 0; i < 500; ++i)
    edge.emit(one, box_a, {std::to_string(i) + padding});
  CHECK(read_texts(*s, 500).size() == 500);
}

TEST_CASE("nobody to follow is told at once") {
  scratch_dir dir;
  CHECK(event_stream::follow(endpoints_of(dir.path), 1, {}).err().code == errc::no_daemon);
  CHECK(output_stream::open(endpoints_of(dir.path), {}).err().code == errc::no_daemon);
}

// ---- output -----------------------------------------------------------------------------------

namespace {

/// Logs of one pane's generations, as log.read shows them.
struct memory_logs {
  struct log {
    std::string data;
    bool closed = false;
  };
  std::mutex mutex;
  std::map<std::uint32_t, log> generations;

  reply_frame read(const request_frame& r) {
    auto ask = unpack<log_read_request>(r.body.data);
    if (r.command != command_traits<log_read_request>::number || !ask)
      return answer<log_read_reply>(r, make_error(errc::not_found));
    std::lock_guard lock{mutex};
    auto g = ask->generation == 0 ? generations.rbegin()->first : ask->generation;
    const auto& l = generations[g];
    auto size = static_cast<std::int64_t>(l.data.size());
    auto at = std::clamp<std::int64_t>(ask->offset < 0 ? size + ask->offset : ask->offset, 0, size);
    auto n = std::min<std::size_t>(ask->max_bytes, 1000); // small pages
    log_read_reply out{g,
                       static_cast<std::uint64_t>(at),
                       {l.data.substr(static_cast<std::size_t>(at), n)},
                       l.data.size(),
                       l.closed};
    return answer<log_read_reply>(r, out);
  }
};

/// Reads until the stream is done or 10 s passed.
std::string read_output(output_stream& s, std::size_t size = ~std::size_t{0}) {
  std::string out;
  auto end = std::chrono::steady_clock::now() + 10s;
  while (out.size() < size && !s.done() && std::chrono::steady_clock::now() < end) {
    auto piece = s.next(100ms);
    if (!piece) {
      FAIL("next: " << render(piece.err()));
      break;
    }
    if (*piece) out += (*piece)->data;
  }
  return out;
}

} // namespace

TEST_CASE("output is the log first, then live, and lost pieces are read from the log") {
  scratch_dir dir;
  memory_logs logs;
  const pane_id pane{"pn_p"};
  std::string expected;
  for (int i = 0; i < 500; ++i)
    expected += "line " + std::to_string(i) + "\n";
  logs.generations[1].data = expected;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(),
                 [&](const request_frame& r) { return logs.read(r); }};
  output_policy policy;
  policy.recheck = 50ms;
  auto s = output_stream::open(edge.where, {one, box_a}, policy);
  REQUIRE(s.ok());
  s->watch(pane);
  CHECK(read_output(*s, expected.size()) == expected);

  auto live = [&](std::uint32_t generation, const std::string& text, bool send) {
    std::uint64_t offset = 0;
    {
      std::lock_guard lock{logs.mutex};
      auto& l = logs.generations[generation];
      offset = l.data.size();
      l.data += text;
    }
    if (send)
      caf::anon_send(edge.publisher, actors::output_a::value,
                     actors::output_ptr{std::make_shared<actors::output_piece>(
                         actors::output_piece{one, box_a, pane, generation, offset, text})});
  };
  live(1, "sent ", true);
  live(1, "lost ", false);
  live(1, "sent again ", true);
  CHECK(read_output(*s, 21) == "sent lost sent again ");

  // The tail of the first attempt and the head of the second are lost.
  live(1, "tail", false);
  {
    std::lock_guard lock{logs.mutex};
    logs.generations[1].closed = true;
  }
  live(2, "second", false);
  live(2, " attempt", true);
  CHECK(read_output(*s, 18) == "tailsecond attempt");
  {
    std::lock_guard lock{logs.mutex};
    logs.generations[2].closed = true;
  }
  CHECK(read_output(*s).empty());
  CHECK(s->done());
}

TEST_CASE("a log of more pieces than the daemon admits in a second is read to its end") {
  scratch_dir dir;
  memory_logs logs;
  std::string expected;
  for (int i = 0; i < 4000; ++i)
    expected += "line " + std::to_string(i) + "\n";
  logs.generations[1] = {expected, true}; // 38 pieces
  fake_edge edge{dir.path, std::make_shared<memory_journal>(),
                 [&](const request_frame& r) { return logs.read(r); }, tight()};
  auto s = output_stream::open(edge.where, {one, box_a});
  REQUIRE(s.ok());
  s->watch({"pn_p"});
  CHECK(read_output(*s) == expected);
  CHECK(s->done());
}

TEST_CASE("a huge log is read in bounded pieces, the next one once the last was taken") {
  constexpr std::uint64_t huge = std::uint64_t{64} << 30U;
  std::atomic<std::uint32_t> asked{0}, largest{0};
  scratch_dir dir;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), [&](const request_frame& r) {
                   auto ask = unpack<log_read_request>(r.body.data);
                   REQUIRE(ask.ok());
                   ++asked;
                   largest = std::max(largest.load(), ask->max_bytes);
                   auto at = ask->offset < 0 ? huge - static_cast<std::uint64_t>(-ask->offset)
                                             : static_cast<std::uint64_t>(ask->offset);
                   log_read_reply out;
                   out.generation = 1;
                   out.offset = at;
                   out.data.data.assign(std::min<std::uint64_t>(ask->max_bytes, huge - at), 'x');
                   out.end_offset = huge;
                   return answer<log_read_reply>(r, out);
                 }};
  auto s = output_stream::open(edge.where, {one, {}});
  REQUIRE(s.ok());
  s->watch({"pn_p"}, -(std::int64_t{1} << 34U));
  std::uint64_t at = huge - (std::uint64_t{1} << 34U);
  for (std::uint32_t i = 1; i <= 20; ++i) {
    auto piece = s->next(10s);
    REQUIRE(piece.ok());
    REQUIRE(*piece);
    CHECK((*piece)->offset == at);
    CHECK((*piece)->data.size() <= 256 * 1024);
    at += (*piece)->data.size();
    CHECK(asked == i); // nothing is read ahead for somebody who is slow
  }
  CHECK(largest <= 256 * 1024);
}

TEST_CASE("watching begins so many bytes before the end when asked to") {
  scratch_dir dir;
  memory_logs logs;
  logs.generations[1] = {std::string(5000, 'a') + "the end", true};
  fake_edge edge{dir.path, std::make_shared<memory_journal>(),
                 [&](const request_frame& r) { return logs.read(r); }};
  auto s = output_stream::open(edge.where, {one, {}});
  REQUIRE(s.ok());
  s->watch({"pn_p"}, -7);
  CHECK(read_output(*s) == "the end");
  CHECK(s->done());
}
