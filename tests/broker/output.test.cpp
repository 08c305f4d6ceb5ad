// Following the output of panes: log, live frames, lost frames, attempts.
#include "broker/output_client.hpp"
#include "tests/broker/fake_world.hpp"
#include "tests/support/catch.hpp"

#include <atomic>

using namespace skep;
using namespace skep::broker;
using namespace skep::broker_test;

namespace {

const swarm_id talking{"sw_one"};
const sandbox_id its_box{"sb_a"};

/// Admits 2 requests at once and then one every 5 ms.
control_limits paced() {
  control_limits l;
  l.burst = 2;
  l.requests_per_second = 200;
  return l;
}

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

/// Logs of several panes.
struct memory_panes {
  std::map<pane_id, memory_logs> panes;

  reply_frame read(const request_frame& r) {
    auto ask = unpack<log_read_request>(r.body.data);
    auto i = ask ? panes.find(ask->pane) : panes.end();
    return i == panes.end() ? answer<log_read_reply>(r, make_error(errc::no_such_pane))
                            : i->second.read(r);
  }

  /// Adds to a log; where `edge` is given, the frame of it is sent as well.
  void write(const pane_id& pane, std::uint32_t generation, const std::string& text,
             fake_edge* edge = nullptr) {
    auto& logs = panes.at(pane);
    std::uint64_t offset = 0;
    {
      std::lock_guard lock{logs.mutex};
      auto& l = logs.generations[generation];
      offset = l.data.size();
      l.data += text;
    }
    if (edge != nullptr)
      caf::anon_send(edge->publisher, actors::output_a::value,
                     actors::output_ptr{std::make_shared<actors::output_piece>(
                         actors::output_piece{talking, its_box, pane, generation, offset, text})});
  }

  void close(const pane_id& pane, std::uint32_t generation) {
    auto& logs = panes.at(pane);
    std::lock_guard lock{logs.mutex};
    logs.generations[generation].closed = true;
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
  auto s = output_stream::open(edge.where, {talking, its_box}, policy);
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
                         actors::output_piece{talking, its_box, pane, generation, offset, text})});
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
                 [&](const request_frame& r) { return logs.read(r); }, paced()};
  auto s = output_stream::open(edge.where, {talking, its_box});
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
  auto s = output_stream::open(edge.where, {talking, {}});
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
  auto s = output_stream::open(edge.where, {talking, {}});
  REQUIRE(s.ok());
  s->watch({"pn_p"}, -7);
  CHECK(read_output(*s) == "the end");
  CHECK(s->done());
}

TEST_CASE("what was lost of a pane's output comes although another pane goes on talking") {
  scratch_dir dir;
  memory_panes panes;
  const pane_id quiet{"pn_a"}, talks{"pn_b"}, unwatched{"pn_c"};
  for (const auto& pane : {quiet, talks, unwatched})
    panes.panes[pane].generations[1].data = "begin ";
  fake_edge edge{dir.path, std::make_shared<memory_journal>(),
                 [&](const request_frame& r) { return panes.read(r); }};
  output_policy policy;
  policy.recheck = 50ms;
  auto s = output_stream::open(edge.where, {talking, its_box}, policy);
  REQUIRE(s.ok());
  s->watch(quiet);
  s->watch(talks);
  CHECK(read_output(*s, 12) == "begin begin ");
  panes.write(quiet, 1, "tail"); // its frame never comes
  std::string of_quiet, of_talks, said;
  auto end = std::chrono::steady_clock::now() + 10s;
  while (of_quiet.empty() && std::chrono::steady_clock::now() < end) {
    panes.write(talks, 1, "more ", &edge);
    panes.write(unwatched, 1, "more ", &edge);
    said += "more ";
    auto piece = s->next(20ms);
    REQUIRE(piece.ok());
    if (*piece) ((*piece)->pane == quiet ? of_quiet : of_talks) += (*piece)->data;
  }
  CHECK(of_quiet == "tail");
  of_talks += read_output(*s, said.size() - of_talks.size());
  CHECK(of_talks == said);
}

TEST_CASE("of many silent panes some are asked again at a time, and all of them in turn") {
  constexpr std::size_t count = 60;
  scratch_dir dir;
  std::mutex mutex;
  std::map<pane_id, std::size_t> asked;
  auto all_asked = [&](std::size_t times) {
    std::lock_guard lock{mutex};
    return asked.size() == count && std::all_of(asked.begin(), asked.end(), [&](const auto& x) {
             return x.second >= times;
           });
  };
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), [&](const request_frame& r) {
                   auto ask = unpack<log_read_request>(r.body.data);
                   std::lock_guard lock{mutex};
                   if (ask) ++asked[ask->pane];
                   return answer<log_read_reply>(r, log_read_reply{1, 0, {}, 0, false});
                 }};
  output_policy policy;
  policy.recheck = 100ms;
  auto s = output_stream::open(edge.where, {talking, {}}, policy);
  REQUIRE(s.ok());
  for (std::size_t i = 0; i < count; ++i)
    s->watch(pane_id{"pn_" + std::to_string(i)});
  const auto began = std::chrono::steady_clock::now();
  CHECK_FALSE(s->next(0ms)->has_value());
  REQUIRE(all_asked(1));
  while (!all_asked(3) && std::chrono::steady_clock::now() < began + 10s)
    CHECK_FALSE(s->next(10ms)->has_value());
  const auto passed = std::chrono::steady_clock::now() - began;
  CHECK(all_asked(3));
  std::size_t again = 0;
  for (const auto& [pane, times] : asked)
    again += times - 1;
  // 20 in the time of a recheck: 5 with each quarter of it.
  CHECK(again <= 5 * (static_cast<std::size_t>(passed / 25ms) + 2));
}

TEST_CASE("every log is asked once more for its next attempt before a last look is done") {
  scratch_dir dir;
  memory_panes panes;
  std::vector<pane_id> ids;
  for (int i = 0; i < 40; ++i) {
    ids.emplace_back(pane_id{"pn_" + std::to_string(i)});
    panes.panes[ids.back()].generations[1] = {"1", i != 0};
  }
  fake_edge edge{dir.path, std::make_shared<memory_journal>(),
                 [&](const request_frame& r) { return panes.read(r); }};
  output_policy policy;
  policy.recheck = 1h;
  auto s = output_stream::open(edge.where, {talking, {}}, policy);
  REQUIRE(s.ok());
  for (const auto& id : ids)
    s->watch(id);
  CHECK(read_output(*s, 40) == std::string(40, '1'));
  for (const auto& id : ids) { // no frame of all this comes
    panes.close(id, 1);
    panes.write(id, 2, "2");
    panes.close(id, 2);
  }
  s->look_again();
  CHECK_FALSE(s->done());
  CHECK(read_output(*s) == std::string(40, '2'));
  CHECK(s->done());
}

TEST_CASE("a place in one attempt's log is not one in the next, which began meanwhile") {
  scratch_dir dir;
  memory_panes panes;
  const pane_id pane{"pn_p"};
  panes.panes[pane].generations[1].data = "first line\nlast line\n";
  fake_edge edge{dir.path, std::make_shared<memory_journal>(),
                 [&](const request_frame& r) { return panes.read(r); }};
  auto s = output_stream::open(edge.where, {talking, its_box});
  REQUIRE(s.ok());
  s->watch(pane, 11, 1);
  panes.close(pane, 1);
  panes.write(pane, 2, "another attempt\n");
  panes.close(pane, 2);
  auto piece = s->next(5s);
  REQUIRE(piece.ok());
  REQUIRE(*piece);
  CHECK((*piece)->generation == 1);
  CHECK((*piece)->offset == 11);
  CHECK((*piece)->data == "last line\n");
  s->look_again();
  CHECK(read_output(*s) == "another attempt\n");
  CHECK(s->done());
}
