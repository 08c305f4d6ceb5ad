// Writers that die: the test forks one, reads the numbers it acknowledges from a pipe, kills it.
#include "storage/reader.hpp"
#include "tests/storage/support.hpp"

#include <csignal>
#include <poll.h>
#include <random>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::storage;
using namespace skep::storage::testing;

namespace {

struct child {
  pid_t pid = -1;
  int out = -1; ///< Read end of its pipe.
};

template <class F>
child fork_child(F work) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::close(ends[0]);
    work(ends[1]);
    ::_exit(0);
  }
  ::close(ends[1]);
  return {pid, ends[0]};
}

int reap(const child& c) {
  ::close(c.out);
  int status = 0;
  ::waitpid(c.pid, &status, 0);
  return status;
}

void tell(int fd, std::uint64_t n) {
  if (::write(fd, &n, sizeof n) != sizeof n) ::_exit(3);
}

/// Writes groups of chunks for ever, telling the head after every commit.
void write_for_ever(const fs::path& file, int out) {
  auto j = journal::open(file, quick_options());
  if (!j) ::_exit(2);
  std::mt19937 random{static_cast<unsigned>(::getpid())};
  for (;;) {
    if (!j->begin()) ::_exit(2);
    for (unsigned k = 0; k <= random() % 5; ++k) {
      auto c = chunk_of(swarm_no(1 + static_cast<int>(random() % 2)), {}, 1);
      auto events = 1 + random() % 8;
      for (unsigned e = 0; e < events; ++e)
        add(c, 1, note_of(std::string(random() % 3000, 'x')));
      if (!j->append(c)) ::_exit(2);
    }
    if (!j->commit()) ::_exit(2);
    tell(out, j->head());
  }
}

/// Every chunk of the journal in order; checks that numbers are dense and predecessors right.
std::uint64_t check_whole(const fs::path& file) {
  auto r = reader::open(file);
  REQUIRE(r.ok());
  std::uint64_t expected = 1;
  std::map<std::string, std::uint64_t> last;
  for (chunk_selector want;;) {
    auto page = r->read_chunks(want);
    REQUIRE(page.ok());
    for (const auto& c : page->chunks) {
      REQUIRE(c.first_seq == expected);
      REQUIRE(c.previous_in_swarm == last[c.swarm.value]);
      expected += c.count;
      last[c.swarm.value] = c.last_seq();
      std::uint32_t n = 0;
      for (event_reader events{c.body.data}; !events.done(); ++n)
        REQUIRE(events.next().ok());
      REQUIRE(n == c.count);
    }
    if (page->next > page->head) return page->head;
    want.from = page->next;
  }
}

} // namespace

TEST_CASE("kill -9 in the middle of commits loses nothing that was acknowledged") {
  temp_dir dir;
  auto file = dir / "skep.db";
  { auto j = open_journal(file); }
  std::mt19937 random{42};
  std::uint64_t acknowledged = 0;
  for (int round = 0; round < 12; ++round) {
    auto writer = fork_child([&](int out) { write_for_ever(file, out); });
    auto target = 1 + random() % 40;
    for (unsigned seen = 0; seen < target; ++seen) {
      std::uint64_t n = 0;
      REQUIRE(::read(writer.out, &n, sizeof n) == sizeof n);
      acknowledged = n;
    }
    ::kill(writer.pid, SIGKILL); // somewhere within the commits that follow
    for (std::uint64_t n = 0; ::read(writer.out, &n, sizeof n) == sizeof n;)
      acknowledged = n; // those it still told
    auto status = reap(writer);
    REQUIRE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    auto head = check_whole(file);
    CHECK(head >= acknowledged);
    auto j = open_journal(file);
    CHECK(j.head() == head);
  }
}

TEST_CASE("a commit that fails breaks the journal and keeps what was acknowledged") {
  temp_dir dir;
  auto file = dir / "skep.db";
  {
    auto j = open_journal(file);
    begin_story(j);
  }
  auto writer = fork_child([&](int out) {
    auto j = journal::open(file, quick_options());
    if (!j) ::_exit(2);
    ::signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit {
      200 * 1024, 200 * 1024
    }; // no file grows beyond
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(2);
    for (int i = 0; i < 1000; ++i) {
      if (!j->begin()) ::_exit(4);
      auto c = chunk_of(swarm_no(1), {}, 1, note_of(std::string(5000, 'y')));
      auto stored = j->append(c);
      auto done = stored ? j->commit() : result<void>{stored.err()};
      if (!done) {
        // Nothing more is accepted after it.
        auto code = done.err().code;
        bool right = j->broken() && (code == errc::io || code == errc::disk_full) && !j->begin()
                     && !j->append(c) && !j->commit();
        ::_exit(right ? 0 : 5);
      }
      tell(out, j->head());
    }
    ::_exit(6); // it never failed
  });
  std::uint64_t acknowledged = 0;
  for (std::uint64_t n = 0; ::read(writer.out, &n, sizeof n) == sizeof n;)
    acknowledged = n;
  auto status = reap(writer);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(acknowledged > 0);
  CHECK(check_whole(file) >= acknowledged);
}
