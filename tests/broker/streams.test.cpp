#include "broker/events_client.hpp"
#include "broker/output_client.hpp"
#include "tests/broker/fake_world.hpp"
#include "tests/support/catch.hpp"

#include <atomic>
#include <future>
#include <thread>
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

TEST_CASE("a page of history that comes too late is asked for again, and every event comes once") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  std::promise<void> release;
  std::atomic<bool> first{true};
  journal->before_replay = [&, released = release.get_future().share()](const replay_request&) {
    if (first.exchange(false)) released.wait_for(10s);
    return error{};
  };
  for (int i = 0; i < 6; ++i)
    journal->append(one, box_a, {"n" + std::to_string(i)});
  fake_edge edge{dir.path, journal};
  auto policy = quick();
  policy.page = 200ms;
  policy.page_chunks = 2;
  auto s = event_stream::follow(edge.where, 1, {}, policy);
  REQUIRE(s.ok());
  auto late = s->next(1s);
  REQUIRE_FALSE(late.ok());
  CHECK(late.err().code == errc::timed_out);
  edge.emit(one, box_a, {"n6"});
  release.set_value();
  std::vector<std::string> texts;
  auto end = std::chrono::steady_clock::now() + 10s;
  while (texts.size() < 7 && std::chrono::steady_clock::now() < end)
    if (auto e = s->next(200ms); e && *e) texts.push_back(text_of(**e));
  CHECK(texts == numbered(0, 7));
}

TEST_CASE("a peer that subscribes and unsubscribes without end holds nobody up") {
  scratch_dir dir;
  auto journal = std::make_shared<memory_journal>();
  fake_edge edge{dir.path, journal};
  auto s = event_stream::follow(edge.where, 1, {}, quick());
  REQUIRE(s.ok());
  std::jthread restless{[path = edge.where.events](const std::stop_token& stop) {
    const std::string on{"\1nothing", 8}, off{"\0nothing", 8};
    zmq::context_t context{1};
    zmq::socket_t socket{context, zmq::socket_type::xsub};
    socket.set(zmq::sockopt::linger, 0);
    socket.connect("ipc://" + path);
    for (bool joins = true; !stop.stop_requested(); joins = !joins)
      socket.send(zmq::buffer(joins ? on : off), zmq::send_flags::dontwait);
  }};
  for (int i = 0; i < 500; ++i)
    edge.emit(one, box_a, {"n" + std::to_string(i)});
  CHECK(read_texts(*s, 500) == numbered(0, 500));
}

TEST_CASE("subscriptions that wait are read in turns, between which the PUBLISHER does its work") {
  scratch_dir dir;
  const auto where = endpoints_of(dir.path);
  std::promise<void> busy, release;
  system_config config;
  caf::actor_system system{config};
  publisher_config p;
  p.path = where.events;
  p.stream_id = "st_test";
  p.beacon_interval = p.idle_beacon_interval = 1h; // only who joins is told
  p.on_published = [&, released = release.get_future().share()](std::uint64_t) {
    busy.set_value();
    released.wait_for(10s);
  };
  auto publisher = start_publisher(system, p);
  auto end = std::chrono::steady_clock::now() + 10s;
  while (!somebody_listens(where.events) && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();

  zmq::context_t context{1};
  zmq::socket_t told{context, zmq::socket_type::sub}, joins{context, zmq::socket_type::xsub};
  auto beacon_comes = [&told] {
    zmq::message_t part;
    return told.recv(part).has_value();
  };
  for (auto* x : {&told, &joins})
    x->set(zmq::sockopt::linger, 0);
  told.set(zmq::sockopt::rcvtimeo, 5000);
  told.set(zmq::sockopt::subscribe, std::string{head_topic});
  told.connect("ipc://" + where.events);
  joins.connect("ipc://" + where.events);
  bool up = beacon_comes();
  const std::string join = '\1' + std::string{head_topic};
  joins.send(zmq::buffer(join), zmq::send_flags::none);
  up = beacon_comes() && up; // of the first subscription of the other peer
  CHECK(up);

  // 900 more come while the PUBLISHER is busy. Each reading of them is followed by one beacon.
  constexpr int waiting = 900, at_once = 64;
  caf::anon_send(publisher, actors::publish_a::value,
                 memory_journal{}.append(one, box_a, {"first"}));
  CHECK(busy.get_future().wait_for(10s) == std::future_status::ready);
  for (int i = 0; i < waiting; ++i)
    joins.send(zmq::buffer(join), zmq::send_flags::none);
  release.set_value();
  int beacons = 0;
  while (beacons < waiting / at_once && beacon_comes())
    ++beacons;
  CHECK(beacons == waiting / at_once);
  caf::anon_send_exit(publisher, caf::exit_reason::user_shutdown);
  caf::scoped_actor self{system};
  publisher = nullptr;
  self->await_all_other_actors_done();
}
