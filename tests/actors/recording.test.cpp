// RECORDER and JOURNAL together under the virtual clock.
#include "actors/journal.hpp"
#include "actors/recorder.hpp"
#include "actors/supervisor.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_journal.hpp"
#include "tests/support/virtual_system.hpp"

using namespace skep;
using namespace skep::actors;
using namespace skep::test;
using namespace std::chrono_literals;

namespace {

using strings = std::vector<std::string>;

packed_event a_note(const std::string& code) {
  return pack_now({}, notice{severity::info, code, {}});
}
packed_event a_fact(phase to = phase::running) {
  return pack_now({}, phase_changed{to, 0});
}

struct publisher_state {
  static inline const char* name = "publisher";
};
publisher_actor::behavior_type fake_publisher(publisher_actor::stateful_pointer<publisher_state>,
                                              std::vector<std::uint64_t>* seen) {
  return {
      [=](publish_a, const chunk_ptr& c) { seen->push_back(c->first_seq); },
      [](output_a, const output_ptr&) {},
      [](pump_a) {},
      [](tick_a) {},
  };
}

/// Takes chunks and never answers.
struct silent_state {
  static inline const char* name = "silent";
  std::vector<caf::typed_response_promise<std::uint64_t>> kept;
};
journal_actor::behavior_type silent_journal(journal_actor::stateful_pointer<silent_state> self) {
  return {
      [=](append_a, const chunk_ptr&) -> caf::result<std::uint64_t> {
        return self->state.kept.emplace_back(self->make_response_promise<std::uint64_t>());
      },
      [](flush_a) {},
  };
}

struct desk {
  std::shared_ptr<memory_log> log = std::make_shared<memory_log>();
  std::vector<std::uint64_t> published;
  std::vector<error> fatal;
  directory_ptr dir = std::make_shared<directory>([] { return utc_time{}; });
  virtual_system v;
  journal_actor journal;

  desk() { open(); }
  ~desk() {
    dir->clear();
    journal = nullptr;
  }
  void open(journal_options o = {}) {
    o.fatal = [this](const error& e) { fatal.push_back(e); };
    journal = v.root(spawn_journal_undetached(v.sys, dir, in_memory(log), o));
    dir->put_journal(journal);
    dir->put_publisher(v.root(v.sys.spawn(fake_publisher, &published)));
    v.run();
  }
  recorder_actor recorder(recorder_options o = {}) {
    return v.root(spawn_recorder(v.sys, swarm_id{"sw_a"}, sandbox_id{"sb_a"}, dir, o));
  }
  chunk_ptr make_chunk(std::vector<packed_event> events, const char* sandbox = "sb_a") {
    auto c = std::make_shared<chunk>();
    c->swarm.value = "sw_a";
    c->sandbox.value = sandbox;
    for (auto& e : events)
      c->body.data += e.bytes;
    c->count = static_cast<std::uint32_t>(events.size());
    return c;
  }
};

} // namespace

TEST_CASE_METHOD(desk, "the journal numbers, answers after the commit, then publishes") {
  auto first =
      v.ask<std::uint64_t>(journal, append_a::value, make_chunk({a_note("a"), a_note("b")}));
  REQUIRE(first);
  CHECK(*first == 1);
  CHECK(dir->head_seq() == 2);
  CHECK(published == std::vector<std::uint64_t>{1});
  CHECK(*v.ask<std::uint64_t>(journal, append_a::value, make_chunk({a_note("c")})) == 3);
  REQUIRE(log->committed.size() == 2);
  CHECK(log->committed[1].previous_in_sandbox == 2);
  CHECK(log->events() == strings{"1:a", "2:b", "3:c"});
}

TEST_CASE_METHOD(desk, "what waits in the mailbox becomes one transaction") {
  for (int i = 0; i < 100; ++i)
    caf::anon_send(journal, append_a::value, make_chunk({a_note("n")}));
  v.run();
  CHECK(log->commits == std::vector<std::uint32_t>{100});
  CHECK(published.size() == 100);
}

TEST_CASE_METHOD(desk, "a transaction holds at most a thousand events") {
  std::vector<packed_event> events(250, a_note("n"));
  for (int i = 0; i < 9; ++i)
    caf::anon_send(journal, append_a::value, make_chunk(events));
  v.run();
  CHECK(log->commits == std::vector<std::uint32_t>{4, 4, 1});
}

TEST_CASE_METHOD(desk, "an error of one chunk leaves the others of its transaction") {
  log->refuse = [](const chunk& c) {
    return c.sandbox.value == "sb_bad" ? make_error(errc::wrong_phase, "no") : error{};
  };
  auto a = v.self->request(journal, caf::infinite, append_a::value, make_chunk({a_note("a")}));
  auto b =
      v.self->request(journal, caf::infinite, append_a::value, make_chunk({a_note("b")}, "sb_bad"));
  auto c = v.self->request(journal, caf::infinite, append_a::value, make_chunk({a_note("c")}));
  v.run();
  std::uint64_t seq_a = 0, seq_c = 0;
  error why;
  auto unexpected = [](caf::error& e) { FAIL(describe(e)); };
  a.receive([&](std::uint64_t x) { seq_a = x; }, unexpected);
  b.receive([](std::uint64_t) { FAIL("accepted"); }, [&](caf::error& e) { why = from_caf(e); });
  c.receive([&](std::uint64_t x) { seq_c = x; }, unexpected);
  CHECK(seq_a == 1);
  CHECK(seq_c == 2);
  CHECK(why.code == errc::wrong_phase);
  CHECK(log->commits == std::vector<std::uint32_t>{2});
  CHECK(published == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE_METHOD(desk, "a failed commit is fatal: nothing is answered as stored or published") {
  log->commit_failure = make_error(errc::io, "no space");
  auto r = v.ask<std::uint64_t>(journal, append_a::value, make_chunk({a_note("a")}));
  REQUIRE_FALSE(r);
  CHECK(from_caf(r.error()).code == errc::io);
  CHECK(fatal.size() == 1);
  CHECK(published.empty());
  CHECK(dir->head_seq() == 0);
  CHECK(from_caf(v.reason_of(journal)).code == errc::io);
}

TEST_CASE_METHOD(desk, "a broken transaction is fatal too") {
  log->refuse = [this](const chunk&) {
    log->broken = true;
    return make_error(errc::sql, "rolled back");
  };
  CHECK_FALSE(v.ask<std::uint64_t>(journal, append_a::value, make_chunk({a_note("a")})));
  CHECK(fatal.size() == 1);
}

TEST_CASE_METHOD(desk, "a journal that cannot be opened ends with the reason") {
  auto j = spawn_journal_undetached(v.sys, dir, []() -> result<std::unique_ptr<journal_backend>> {
    return make_error(errc::corrupt_database);
  });
  v.run();
  CHECK(from_caf(v.reason_of(j)).code == errc::corrupt_database);
}

TEST_CASE_METHOD(desk, "what was accepted before the end is committed and answered") {
  auto r = v.self->request(journal, caf::infinite, append_a::value, make_chunk({a_note("a")}));
  caf::anon_send_exit(journal, caf::exit_reason::user_shutdown);
  auto late =
      v.self->request(journal, caf::infinite, append_a::value, make_chunk({a_note("late")}));
  v.run();
  std::uint64_t seq = 0;
  r.receive([&](std::uint64_t x) { seq = x; }, [](caf::error& e) { FAIL(describe(e)); });
  CHECK(seq == 1);
  bool refused = false;
  late.receive([](std::uint64_t) {}, [&](caf::error&) { refused = true; });
  CHECK(refused);
  CHECK(log->events() == strings{"1:a"});
  CHECK_FALSE(log->open);
}

TEST_CASE_METHOD(desk, "a slow transaction is committed although more keeps coming") {
  // Every append takes 6 ms here, as on a slow disk.
  log->refuse = [this](const chunk&) {
    v.scheduler.clock().current_time += 6ms;
    return error{};
  };
  for (int i = 0; i < 6; ++i)
    caf::anon_send(journal, append_a::value, make_chunk({a_note("n")}));
  v.run();
  CHECK(log->commits == std::vector<std::uint32_t>{2, 2, 2});
}

TEST_CASE_METHOD(desk, "an empty chunk is refused") {
  CHECK_FALSE(v.ask<std::uint64_t>(journal, append_a::value, make_chunk({})));
  CHECK_FALSE(v.ask<std::uint64_t>(journal, append_a::value, chunk_ptr{}));
  CHECK(log->committed.empty());
}

TEST_CASE_METHOD(desk,
                 "what the backend says of itself is a notice, said again where it was refused") {
  auto store = [this](const std::string& code) {
    REQUIRE(v.ask<std::uint64_t>(journal, append_a::value, make_chunk({a_note(code)})));
    v.run();
  };
  log->word = notice{severity::warning, "audit_failed", "a reason"};
  store("a");
  CHECK(log->events() == strings{"1:a", "2:audit_failed"});
  CHECK(published == std::vector<std::uint64_t>{1, 2});
  log->word = notice{severity::info, "audit_written", "whole again"};
  log->refuse = [](const chunk& c) {
    return c.sandbox.empty() ? make_error(errc::disk_full) : error{};
  };
  store("b");
  CHECK(log->events().back() == "3:b");
  log->refuse = nullptr;
  store("c");
  CHECK(log->events() == strings{"1:a", "2:audit_failed", "3:b", "4:c", "5:audit_written"});
  store("d");
  CHECK(log->events().size() == 6);
}

TEST_CASE_METHOD(desk, "notes are stored within the linger time and waiters get right sequences") {
  auto r = recorder();
  caf::anon_send(r, note_a::value, a_note("a"));
  v.advance(4ms);
  CHECK(log->committed.empty());
  v.advance(1ms);
  CHECK(log->events() == strings{"1:a"});
  caf::anon_send(r, note_a::value, a_note("b"));
  CHECK(*v.ask<std::uint64_t>(r, record_a::value, a_fact()) == 3);
  CHECK(log->events() == strings{"1:a", "2:b", "3:sandbox.phase_changed"});
}

TEST_CASE("errors, notices and words of agents lose what looks like a secret on their way to the "
          "journal") {
  const std::string block = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"
                            "-----END OPENSSH PRIVATE KEY-----";
  const std::string key = "ghp_0123456789abcdefghij0123456789abcdef";
  auto why = make_error(errc::remote_command_failed, "git said " + key, "it printed " + block);
  std::vector<packed_event> all = {
      pack_now({}, sandbox_failing{why}),
      pack_now({}, swarm_closed{outcome::failed, why, 0, 1, 0}),
      pack_now({}, create_failed{"in", why}),
      pack_now({}, poll_failed{1, 5, why}),
      pack_now({}, notice{severity::warning, "odd", render(why)}),
      pack_now({},
               agent_block{
                   {"pn_a"}, block_kind::text, {}, "my key is " + key + " and " + block, false})};
  pane_usage account;
  account.pane = {"pn_a"};
  account.summary = "the token is " + key + " and " + block;
  all.push_back(pack_now({}, account));
  all.push_back(pack_now({}, pane_restarting{{"pn_a"}, 1, 5, "it said " + key + ", " + block}));
  all.push_back(
      pack_now({}, agent_block{{"pn_a"}, block_kind::tool_use, key + " " + block, {}, false}));
  for (const auto& e : all) {
    INFO(e.bytes);
    CHECK(e.bytes.find("ghp_") == std::string::npos);
    CHECK(e.bytes.find("b3Blbn") == std::string::npos);
    CHECK(e.bytes.find("[removed: private key]") != std::string::npos);
    CHECK(e.bytes.find("[removed: key]") != std::string::npos);
  }
}

TEST_CASE_METHOD(desk, "closed comes after all notes that were sent before it") {
  auto r = recorder();
  for (int i = 0; i < 500; ++i)
    caf::anon_send(r, note_a::value, a_note(std::to_string(i)));
  CHECK(*v.ask<std::uint64_t>(r, record_a::value, pack_now({}, sandbox_closed{})) == 501);
  const auto all = log->events();
  REQUIRE(all.size() == 501);
  for (std::size_t i = 0; i < 500; ++i)
    REQUIRE(all[i] == std::to_string(i + 1) + ":" + std::to_string(i));
  CHECK(all[500] == "501:sandbox.closed");
}

TEST_CASE_METHOD(desk, "a refused fact is told to its waiter and the recorder goes on") {
  log->refuse = [](const chunk& c) {
    event_reader reader{c.body.data};
    while (!reader.done())
      if (auto e = reader.next(); e && e->type == event_traits<phase_changed>::info.type)
        return make_error(errc::wrong_phase);
    return error{};
  };
  auto r = recorder();
  caf::anon_send(r, note_a::value, a_note("a"));
  auto bad = v.ask<std::uint64_t>(r, record_a::value, a_fact());
  REQUIRE_FALSE(bad);
  CHECK(from_caf(bad.error()).code == errc::wrong_phase);
  CHECK(*v.ask<std::uint64_t>(r, record_a::value, a_note("b")) == 2);
  CHECK(log->events() == strings{"1:a", "2:b"});
}

TEST_CASE_METHOD(desk, "events that belong together are one chunk, however many they are, and are "
                       "refused as one") {
  auto r = recorder();
  packed_events all;
  for (int i = 0; i < 100; ++i)
    all.add({}, notice{severity::info, std::to_string(i), std::string(400, 'x')});
  all.add({}, sandbox_closed{});
  caf::anon_send(r, note_a::value, a_note("before"));
  CHECK(*v.ask<std::uint64_t>(r, record_a::value, all) == 102); // of the last one
  REQUIRE(log->committed.size() == 2);
  CHECK(log->committed[0].count == 1);
  CHECK(log->committed[1].count == 101);
  log->refuse = [](const chunk& c) { return c.count > 1 ? make_error(errc::disk_full) : error{}; };
  auto bad = v.ask<std::uint64_t>(r, record_a::value, all);
  REQUIRE_FALSE(bad);
  CHECK(from_caf(bad.error()).code == errc::disk_full);
  CHECK(log->committed.size() == 2); // and none of them was sent by itself
  CHECK(*v.ask<std::uint64_t>(r, record_a::value, a_note("after")) == 103);
  auto none = v.ask<std::uint64_t>(r, record_a::value, packed_events{});
  REQUIRE_FALSE(none);
  CHECK(from_caf(none.error()).code == errc::bad_argument);
}

TEST_CASE_METHOD(desk, "without a journal the answer is an error, not silence") {
  dir->put_journal({});
  auto r = v.ask<std::uint64_t>(recorder(), record_a::value, a_fact());
  REQUIRE_FALSE(r);
  CHECK(from_caf(r.error()).code == errc::shutting_down);
}

TEST_CASE_METHOD(desk, "a recorder that is stopped stores what it has before it ends") {
  auto r = recorder();
  caf::anon_send(r, note_a::value, a_note("last words"));
  caf::anon_send_exit(r, caf::exit_reason::user_shutdown);
  caf::anon_send(r, note_a::value, a_note("too late"));
  v.run();
  CHECK(log->events() == strings{"1:last words"});
  CHECK(v.reason_of(r) == caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(desk, "a recorder does not wait for ever for a journal that hangs") {
  auto mute = v.root(v.sys.spawn([](journal_actor::pointer self) -> journal_actor::behavior_type {
    return {[self](append_a, chunk_ptr&) -> caf::result<std::uint64_t> {
              return self->make_response_promise<std::uint64_t>();
            },
            [](flush_a) {}};
  }));
  dir->put_journal(mute);
  auto r = recorder();
  auto waiting = v.self->request(r, caf::infinite, record_a::value, a_fact());
  caf::anon_send_exit(r, caf::exit_reason::user_shutdown);
  v.advance(2999ms);
  CHECK(dir->credit().used() > 0);
  v.advance(1ms);
  error why;
  waiting.receive([](std::uint64_t) {}, [&](caf::error& e) { why = from_caf(e); });
  CHECK(why.code == errc::shutting_down);
  CHECK(dir->credit().used() == 0);
}

TEST_CASE_METHOD(desk, "what a slow disk stores minutes later is stored, and nobody is told before "
                       "that it is not") {
  std::vector<caf::typed_response_promise<std::uint64_t>> asked;
  auto slow =
      v.root(v.sys.spawn([&asked](journal_actor::pointer self) -> journal_actor::behavior_type {
        return {[self, &asked](append_a, chunk_ptr&) -> caf::result<std::uint64_t> {
                  return asked.emplace_back(self->make_response_promise<std::uint64_t>());
                },
                [&asked](flush_a) { asked.at(0).deliver(std::uint64_t{7}); }};
      }));
  dir->put_journal(slow);
  auto r = recorder();
  auto waiting = v.self->request(r, caf::infinite, record_a::value, a_fact());
  v.advance(5min);
  REQUIRE(asked.size() == 1);
  CHECK(dir->credit().used() > 0); // it waits at the journal, so it counts
  CHECK(v.deadlines() == 1);
  caf::anon_send(slow, flush_a::value);
  v.run();
  std::uint64_t stored_as = 0;
  waiting.receive([&](std::uint64_t seq) { stored_as = seq; }, [](caf::error&) { FAIL("told"); });
  CHECK(stored_as == 7);
  CHECK(dir->credit().used() == 0);
}

TEST_CASE_METHOD(desk, "an hour of notes every second keeps its order and leaves nothing behind") {
  auto r = recorder();
  for (int i = 0; i < 3600; ++i) {
    caf::anon_send(r, note_a::value, a_note(std::to_string(i)));
    v.advance(1s);
  }
  CHECK(log->committed.size() == 3600);
  CHECK(dir->credit().used() == 0);
  v.stop_roots();
  CHECK(v.running() == 0);
  CHECK_FALSE(log->open);
}

TEST_CASE_METHOD(desk, "the deadline of a request ends with its answer") {
  auto r = recorder();
  REQUIRE(v.ask<std::uint64_t>(r, record_a::value, a_fact()));
  CHECK(v.deadlines() == 0);
  // One that is not answered yet has its deadline, and it holds.
  dir->put_journal(v.root(v.sys.spawn(silent_journal)));
  auto pending = v.self->request(r, caf::infinite, record_a::value, a_fact());
  v.run();
  CHECK(v.deadlines() == 1);
  v.advance(chunk_limits{}.append_timeout);
  error why;
  pending.receive([](std::uint64_t) { FAIL("stored"); }, [&](caf::error& e) { why = from_caf(e); });
  CHECK(why.code == errc::timed_out);
  CHECK(v.deadlines() == 0);
}
