// The same actors on real threads: the journal detached, producers on the scheduler's.
#include "actors/journal.hpp"
#include "actors/recorder.hpp"
#include "actors/supervisor.hpp"
#include "actors/work_pool.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/memory_journal.hpp"

#include <future>
#include <set>

#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::actors;
using namespace skep::test;
using namespace std::chrono_literals;

namespace {

struct real_config : caf::actor_system_config {
  real_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-throughput", 100);
    set("scheduler.max-threads", 4);
  }
};

packed_event numbered(int producer, int i) {
  return pack_now({}, notice{severity::info, std::to_string(producer), std::to_string(i)});
}

} // namespace

TEST_CASE("many producers, one detached journal: every event once, in each producer's order") {
  constexpr int producers = 8;
  constexpr int events = 2000;
  auto log = std::make_shared<memory_log>();
  auto dir = std::make_shared<directory>();
  real_config cfg;
  caf::actor_system sys{cfg};
  {
    caf::scoped_actor self{sys};
    auto journal = spawn_journal(sys, dir, in_memory(log));
    dir->put_journal(journal);
    std::vector<recorder_actor> recorders;
    for (int p = 0; p < producers; ++p)
      recorders.push_back(
          spawn_recorder(sys, swarm_id{"sw_a"}, sandbox_id{"sb_" + std::to_string(p)}, dir));
    for (int i = 0; i < events; ++i)
      for (int p = 0; p < producers; ++p)
        caf::anon_send(recorders[static_cast<std::size_t>(p)], note_a::value, numbered(p, i));
    std::set<std::uint64_t> last;
    for (auto& r : recorders)
      self->request(r, 30s, record_a::value, pack_now({}, sandbox_closed{}))
          .receive([&](std::uint64_t seq) { last.insert(seq); },
                   [](caf::error& e) { FAIL(describe(e)); });
    CHECK(last.size() == producers);
    for (auto& r : recorders)
      self->send_exit(r, caf::exit_reason::user_shutdown);
    for (auto& r : recorders)
      self->wait_for(r);
    self->send_exit(journal, caf::exit_reason::user_shutdown);
    self->wait_for(journal);
    dir->clear();
  }
  CHECK(dir->credit().used() == 0);
  CHECK(dir->head_seq() == producers * (events + 1));
  // Read after the journal's thread has ended.
  std::vector<int> next(producers, 0);
  std::uint64_t seq = 0;
  std::size_t closed = 0;
  bool good = true;
  for (const auto& c : log->committed) {
    good = good && c.first_seq == seq + 1;
    seq = c.last_seq();
    event_reader r{c.body.data};
    while (!r.done()) {
      auto e = interpret(*r.next());
      if (auto* n = std::get_if<notice>(&*e)) {
        auto& expected = next[static_cast<std::size_t>(std::stoi(n->code))];
        good = good && n->text == std::to_string(expected++);
      } else {
        ++closed;
      }
    }
  }
  CHECK(good);
  CHECK(closed == producers);
  CHECK(next == std::vector<int>(producers, events));
  CHECK(log->commits.size() < log->committed.size()); // transactions held several chunks
}

TEST_CASE("a supervised detached journal is restarted and the tree ends without a hang") {
  auto log = std::make_shared<memory_log>();
  auto dir = std::make_shared<directory>();
  real_config cfg;
  caf::actor_system sys{cfg};
  {
    caf::scoped_actor self{sys};
    supervisor_options o;
    o.path = "root";
    o.plan = strategy::rest_for_one;
    o.policy.backoff_min = 1ms;
    child_spec journal;
    journal.id = "journal";
    journal.start = [=](caf::scheduled_actor* parent) {
      auto h = spawn_journal(parent, dir, in_memory(log));
      dir->put_journal(h);
      return caf::actor_cast<caf::strong_actor_ptr>(h);
    };
    child_spec recorder;
    recorder.id = "recorder";
    recorder.start = [=](caf::scheduled_actor* parent) {
      auto h = spawn_recorder(parent, {}, {}, dir);
      dir->put_recorder(h);
      return caf::actor_cast<caf::strong_actor_ptr>(h);
    };
    auto top = spawn_supervisor(sys, o, {journal, recorder});
    auto record = [&] {
      std::uint64_t seq = 0;
      self->request(dir->recorder(), 10s, record_a::value, numbered(0, 0))
          .receive([&](std::uint64_t x) { seq = x; }, [](caf::error&) {});
      return seq;
    };
    // The start is asynchronous: the answer to any request comes after it.
    self->request(top, 10s, ids_a::value)
        .receive([](std::vector<std::string>&) {}, [](caf::error& e) { FAIL(describe(e)); });
    CHECK(record() == 1);
    auto old = dir->journal();
    self->monitor(old);
    self->send_exit(old, caf::exit_reason::kill);
    self->receive([](caf::down_msg&) {});
    // Until the restart an answer is an error; it never hangs.
    std::uint64_t seq = 0;
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (seq == 0 && std::chrono::steady_clock::now() < deadline)
      if (dir->recorder() && dir->journal() != old) seq = record();
    CHECK(seq == 2);
    old = nullptr;
    self->send_exit(top, caf::exit_reason::user_shutdown);
    self->wait_for(top);
    dir->clear();
  }
  CHECK_FALSE(log->open);
}

TEST_CASE("a pool that stops tells the job that runs, and drops those that wait") {
  work_pool pool{1};
  std::promise<void> begun;
  std::atomic<bool> dropped{true};
  pool.submit([&] {
    begun.set_value();
    while (!pool.cancelled())
      std::this_thread::yield();
  });
  pool.submit([&] { dropped = false; });
  begun.get_future().wait();
  CHECK_FALSE(pool.cancelled());
  CHECK(pool.stop(60s));
  CHECK(pool.cancelled());
  CHECK(pool.waiting() == 0);
  CHECK(dropped);
  CHECK(pool.stop(0ms)); // twice is once
}

TEST_CASE("a job that does not listen holds up the end of its pool for no longer than the limit") {
  std::promise<void> begun, over;
  auto until = over.get_future().share();
  work_pool pool{2};
  pool.submit([&begun, until] {
    begun.set_value();
    until.wait();
  });
  begun.get_future().wait();
  CHECK_FALSE(pool.stop(1ms));
  CHECK_FALSE(pool.stop(1ms));
  over.set_value();
  CHECK(pool.stop(60s));
}

TEST_CASE("a job that throws ends no pool: what it threw is told, and the next one is done") {
  std::vector<std::string> told; // by the pool's one thread
  std::promise<void> done;
  work_pool pool{1, [&told](const std::string& what) {
                   told.push_back(what);
                   throw std::bad_alloc{};
                 }};
  pool.submit([] { throw std::runtime_error("no thread could be made"); });
  pool.submit([] { throw 7; });
  pool.submit([&done] { done.set_value(); });
  CHECK(done.get_future().wait_for(60s) == std::future_status::ready);
  pool.stop();
  CHECK(told == std::vector<std::string>{"no thread could be made", "an exception without words"});
}

TEST_CASE("a failed commit ends the process with status 74 before anything is answered") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const auto child = fork(); // no other thread lives here between two tests
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    auto log = std::make_shared<memory_log>();
    log->commit_failure = make_error(errc::io, "no space left");
    auto dir = std::make_shared<directory>();
    real_config cfg;
    caf::actor_system sys{cfg};
    caf::scoped_actor self{sys};
    auto journal = spawn_journal(sys, dir, in_memory(log));
    auto c = std::make_shared<chunk>();
    c->body.data = numbered(0, 0).bytes;
    c->count = 1;
    self->request(journal, 30s, append_a::value, c)
        .receive([](std::uint64_t) { std::_Exit(1); }, [](caf::error&) { std::_Exit(2); });
    std::_Exit(3);
  }
  close(ends[1]);
  std::string said;
  char buffer[512];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 74);
  CHECK(said.find("no space left") != std::string::npos);
}
