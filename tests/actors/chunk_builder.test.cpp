// The builder alone: the test is its owner, its journal and its clock.
#include "actors/chunk_builder.hpp"
#include "tests/support/catch.hpp"

using namespace skep;
using namespace skep::actors;
using namespace std::chrono_literals;

namespace {

const swarm_id swarm{"sw_a"};
const sandbox_id this_sandbox{"sb_a"};

packed_event note_event(const std::string& code, std::size_t padding = 0) {
  return pack_now({}, notice{severity::info, code, std::string(padding, 'x')});
}
packed_event fact_event() {
  return pack_now({}, sandbox_degraded{});
}

struct bench {
  struct sent_chunk {
    chunk_ptr c;
    chunk_builder::appended answer;
  };
  std::vector<sent_chunk> sent;
  std::vector<std::pair<caf::timespan, std::uint64_t>> timers;
  std::vector<std::string> heard;
  std::vector<std::uint32_t> lost;
  credit_pool credit{1000, 500};
  std::uint64_t next_seq = 1;
  chunk_limits limits;
  bool answer_at_once = false;
  std::unique_ptr<chunk_builder> b;

  void make() {
    chunk_builder::host h;
    h.append = [this](chunk_ptr c, chunk_builder::appended a) {
      if (answer_at_once) return a(make_error(errc::shutting_down));
      sent.push_back({std::move(c), std::move(a)});
    };
    h.set_timer = [this](caf::timespan d, std::uint64_t t) { timers.emplace_back(d, t); };
    h.wall_now = [] { return utc_time{}; };
    h.credit = &credit;
    b = std::make_unique<chunk_builder>(std::move(h), swarm, this_sandbox, limits);
    b->on_lost = [this](std::uint32_t n, const error&) { lost.push_back(n); };
  }
  bench() { make(); }

  chunk_builder::waiter hear(std::string name) {
    return [this, name](result<std::uint64_t> r) {
      heard.push_back(name + "=" + (r ? std::to_string(*r) : std::string{to_string(r.err().code)}));
    };
  }
  void answer(std::size_t i) {
    auto& s = sent.at(i);
    const auto first = next_seq;
    next_seq += s.c->count;
    std::exchange(s.answer, nullptr)(first);
  }
  void refuse(std::size_t i, errc code) {
    std::exchange(sent.at(i).answer, nullptr)(make_error(code));
  }
  void fire_last_timer() { b->on_timer(timers.back().second); }
  std::string codes(std::size_t i) {
    std::string out;
    event_reader r{sent.at(i).c->body.data};
    while (!r.done()) {
      auto e = interpret(*r.next());
      out += std::holds_alternative<notice>(*e) ? std::get<notice>(*e).code : "F";
    }
    return out;
  }
};

} // namespace

TEST_CASE_METHOD(bench, "notes wait for the linger time and travel together") {
  b->add(note_event("a"));
  b->add(note_event("b"));
  CHECK(sent.empty());
  REQUIRE(timers.size() == 1); // one timer, not one for each event
  CHECK(timers[0].first == caf::timespan{5ms});
  fire_last_timer();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].c->count == 2);
  CHECK(sent[0].c->swarm == swarm);
  CHECK(sent[0].c->sandbox == this_sandbox);
  CHECK(codes(0) == "ab");
  b->on_timer(timers[0].second); // late: harmless
  CHECK(sent.size() == 1);
}

TEST_CASE_METHOD(bench, "a chunk closes at 64 events and at 16 KiB") {
  for (int i = 0; i < 64; ++i)
    b->add(note_event("n"));
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].c->count == 64);
  credit.give_back(0);
  answer(0);
  limits.size_bytes = 300;
  make();
  sent.clear();
  b->add(note_event("a", 200));
  b->add(note_event("b", 200)); // would not fit: a goes without it
  REQUIRE(sent.size() == 1);
  CHECK(codes(0) == "a");
  b->add(note_event("c", 500)); // larger than a chunk should be: travels alone
  CHECK(sent.size() == 3);
  CHECK(codes(2) == "c");
}

TEST_CASE_METHOD(bench, "every event type is told apart as fact or note") {
  // Two of a kind in one chunk: a second chunk may follow at once only when neither is a fact.
  for (const auto& type : all_events()) {
    make();
    sent.clear();
    std::string raw;
    string_sink sink{raw};
    packer p{sink};
    p.pack_array(3);
    p.pack_uint32(type.type);
    pack_value(p, utc_time{});
    p.pack_map(0);
    for (int i = 0; i < 2; ++i)
      b->add({raw});
    b->flush();
    b->add(note_event("z"));
    b->flush();
    INFO(type.name);
    CHECK(sent.size() == (type.kind == event_class::note ? 2 : 1));
  }
}

TEST_CASE_METHOD(bench, "an event with a waiter goes at once, with the notes before it") {
  b->add(note_event("a"));
  b->add(note_event("b"), hear("b"));
  REQUIRE(sent.size() == 1);
  CHECK(codes(0) == "ab");
  next_seq = 10;
  answer(0);
  CHECK(heard == std::vector<std::string>{"b=11"});
  CHECK(b->idle());
}

TEST_CASE_METHOD(bench, "at most three chunks are on their way and later events merge meanwhile") {
  for (int i = 0; i < 8; ++i)
    b->add(note_event(std::to_string(i)), hear(std::to_string(i)));
  REQUIRE(sent.size() == 3);
  CHECK(b->congested());
  answer(0);
  REQUIRE(sent.size() == 4);
  CHECK(codes(3) == "34567");
  answer(1);
  answer(2);
  answer(3);
  CHECK(heard == std::vector<std::string>{"0=1", "1=2", "2=3", "3=4", "4=5", "5=6", "6=7", "7=8"});
  CHECK(b->idle());
  CHECK(credit.used() == 0);
}

TEST_CASE_METHOD(bench, "the last event cannot overtake earlier ones") {
  b->add(note_event("a"));
  b->add(fact_event(), hear("f")); // a fact among others: travels alone
  b->add(note_event("b"));
  b->add(pack_now({}, sandbox_closed{}), hear("closed"));
  REQUIRE(sent.size() == 1);
  CHECK(codes(0) == "aF");
  answer(0);
  REQUIRE(sent.size() == 2);
  CHECK(codes(1) == "bF");
  answer(1);
  CHECK(heard == std::vector<std::string>{"f=2", "closed=4"});
}

TEST_CASE_METHOD(bench, "one fact that is refused costs its neighbours nothing") {
  b->add(note_event("a"));
  b->add(fact_event());
  b->add(fact_event(), hear("good"));
  b->add(note_event("z"), hear("z"));
  REQUIRE(sent.size() == 1);
  refuse(0, errc::wrong_phase);
  // Again, one by one, before what came later.
  REQUIRE(sent.size() == 4);
  CHECK(codes(1) == "a");
  CHECK(codes(2) == "F");
  CHECK(codes(3) == "F");
  answer(1);
  REQUIRE(sent.size() == 5);
  CHECK(codes(4) == "z");
  refuse(2, errc::wrong_phase);
  answer(3);
  answer(4);
  CHECK(heard == std::vector<std::string>{"good=2", "z=3"});
  CHECK(lost == std::vector<std::uint32_t>{1});
  CHECK(b->idle());
  CHECK(credit.used() == 0);
}

TEST_CASE_METHOD(bench,
                 "an error that is not about the content reaches every waiter and is final") {
  b->add(note_event("a"));
  b->add(fact_event(), hear("f"));
  refuse(0, errc::timed_out); // it may be on disk: sending it again could double it
  CHECK(sent.size() == 1);
  CHECK(heard == std::vector<std::string>{"f=timed_out"});
  CHECK(lost == std::vector<std::uint32_t>{2});
}

TEST_CASE_METHOD(bench, "events that belong together are stored or refused as one") {
  b->add(note_event("a"));
  b->add_all({fact_event(), fact_event()}, hear("both"));
  b->add(note_event("b"));
  b->flush();
  REQUIRE(sent.size() == 3);
  CHECK(codes(0) == "a");
  CHECK(codes(1) == "FF");
  CHECK(codes(2) == "b");
  refuse(1, errc::wrong_phase);
  CHECK(sent.size() == 3); // not split
  CHECK(heard == std::vector<std::string>{"both=wrong_phase"});
}

TEST_CASE_METHOD(bench, "without global credit notes wait and facts with waiters use the reserve") {
  credit.take(950, false);
  b->add(note_event("n", 100));
  b->flush();
  CHECK(sent.empty());
  REQUIRE_FALSE(timers.empty());
  CHECK(timers.back().first == caf::timespan{10ms});
  fire_last_timer();
  CHECK(sent.empty());
  credit.give_back(950);
  fire_last_timer();
  CHECK(sent.size() == 1);
  answer(0);
  credit.take(950, false);
  b->add(note_event("w", 100), hear("w"));
  CHECK(sent.size() == 2);
  answer(1);
  CHECK(credit.used() == 950);
  credit.give_back(950);
}

TEST_CASE_METHOD(bench, "credit comes back when the builder dies with chunks on their way") {
  b->add(note_event("n", 100), hear("n"));
  b->add(note_event("m"));
  CHECK(credit.used() > 100);
  b.reset();
  CHECK(credit.used() == 0);
  CHECK(heard == std::vector<std::string>{"n=shutting_down"});
  answer(0); // late: nobody is there
}

TEST_CASE_METHOD(bench, "a backlog drops notes, keeps facts, and says so later") {
  limits.backlog_bytes = 400;
  limits.outstanding = 1;
  make();
  b->add(note_event("first"), hear("first"));
  for (int i = 0; i < 10; ++i)
    b->add(note_event("n", 100));
  CHECK(b->dropped() > 5);
  CHECK(b->backlog_bytes() <= 400);
  b->add(fact_event());
  CHECK(b->dropped() < 10);
  b->flush();
  for (std::size_t i = 0; i < sent.size(); ++i) {
    answer(i);
    b->flush();
  }
  CHECK(codes(sent.size() - 1).find("notes_dropped") != std::string::npos);
  CHECK(b->idle());
}

TEST_CASE_METHOD(bench, "a journal that is not there answers at once without recursion") {
  limits.outstanding = 1;
  make();
  for (int i = 0; i < 5'000; ++i)
    b->add_all({note_event("n")}, hear("x"));
  REQUIRE(sent.size() == 1);
  answer_at_once = true;
  answer(0);
  CHECK(heard.size() == 5'000);
  CHECK(b->idle());
}

TEST_CASE_METHOD(bench, "whoever is answered may add events or let go of the builder") {
  b->add(note_event("a"), [this](result<std::uint64_t>) { b->add(note_event("b"), hear("b")); });
  answer(0);
  REQUIRE(sent.size() == 2);
  answer(1);
  CHECK(heard == std::vector<std::string>{"b=2"});
  b->add(note_event("c"), [this](result<std::uint64_t>) { b.reset(); });
  answer(2);
  CHECK_FALSE(b);
}
