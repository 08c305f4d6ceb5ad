// Scripts of output that the disk of this machine has no room for: it waits inside, and nothing
// fails.
#include "storage/disk_guard.hpp"
#include "tests/actors/sandbox_world.hpp"

#include <cerrno>
#include <fstream>
#include <sys/syscall.h>
#include <unistd.h>

using namespace skep;
using namespace skep::test;

namespace {
bool logs_are_full = false; ///< Writes to logs find no room.
} // namespace

// As the C library's on a disk that is full.
extern "C" ssize_t write(int fd, const void* data, size_t size) {
  if (logs_are_full) {
    std::error_code ec;
    auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ec).string();
    if (path.ends_with(".log")) {
      errno = ENOSPC;
      return -1;
    }
  }
  return ::syscall(SYS_write, fd, data, size);
}

namespace {

constexpr std::uint64_t plenty_free = 1ULL << 30;

struct full_disk_world : sandbox_world {
  std::uint64_t free = plenty_free;
  int looks = 0;

  full_disk_world() {
    svc->room = std::make_shared<disk_room>(
        [this] {
          ++looks;
          return free;
        },
        svc->boot_now);
  }
  ~full_disk_world() { logs_are_full = false; }

  /// From now on, whatever was answered before.
  void room(std::uint64_t bytes) {
    advance(svc->limits.disk_look);
    free = bytes;
  }
  std::string logged() const {
    std::ifstream file{ctx->log_path({"pn_0"}, 1)};
    return {std::istreambuf_iterator<char>{file}, {}};
  }
  /// What a follower that is started from now on finds inside: the rest of the log, and its end.
  void inside_is(std::uint64_t from, const std::string& rest) {
    api->on_stream = [from, rest](fake_api::stream& s) {
      s.emit(hello());
      s.emit(frame(follow_kind::data, follow_data{{"pn_0"}, 1, from, {rest}}));
      s.emit(frame(follow_kind::exit, follow_exit{{"pn_0"}, 1, 0, 0, from + rest.size(), {}}));
    };
  }
};

} // namespace

TEST_CASE("the disk is looked at once a second for all, and what they were given since is taken "
          "off") {
  std::uint64_t free = 100;
  int looks = 0;
  auto at = 0ms;
  disk_room room{[&] {
                   ++looks;
                   return free;
                 },
                 [&] { return at; }};
  CHECK(room.take(30, 50, 1s));
  CHECK_FALSE(room.take(30, 50, 1s));
  CHECK(room.take(20, 50, 1s)); // what was refused is not written
  free = 200;
  at = 999ms;
  CHECK_FALSE(room.take(1, 50, 1s));
  CHECK(looks == 1);
  at = 1000ms;
  CHECK(room.take(150, 50, 1s));
  CHECK_FALSE(room.take(1, 50, 1s));
  CHECK(looks == 2);
  free = 0;
  at = 2000ms;
  CHECK_FALSE(room.take(1, 0, 1s));
}

TEST_CASE("output leaves room for the journal above its reserve, and a disk that does not say what "
          "is free has room") {
  const policies limits;
  const storage::disk_limits disk;
  CHECK(limits.log_room_bytes >= 4 * disk.reserve_bytes);
  CHECK(limits.log_room_bytes <= disk.low_water_bytes / 4);
  scratch tmp;
  CHECK(storage::free_bytes(tmp.path) < UINT64_MAX);
  CHECK(storage::free_bytes(tmp.path / "nothing") == UINT64_MAX);
}

TEST_CASE_METHOD(full_disk_world,
                 "output that the disk has no room for stays inside, fails nothing, and comes byte "
                 "for byte once there is room") {
  begin();
  output("pn_0", 0, "before ");
  room(svc->limits.log_room_bytes + 5);
  output("pn_0", 7, "meanwhile");
  REQUIRE(api->streams.size() == 1);
  CHECK_FALSE(api->streams[0]->open);
  CHECK(logged() == "before ");
  auto looked = looks;
  advance(10min);
  CHECK(api->streams.size() == 2); // five bytes are free, and nothing more comes through
  free = svc->limits.log_room_bytes;
  output("pn_0", 7, "meanwhile");
  advance(10min);
  CHECK(api->streams.size() == 2);
  CHECK(looks - looked <= 22); // one each half minute
  CHECK(logged() == "before ");
  CHECK(count("sandbox.poll_failed") == 0);
  CHECK(count("output_incomplete") == 0);
  CHECK(count("sandbox.closed") == 0);
  CHECK(count("output_waits_for_room") == 1);
  CHECK(count("output_waited") == 0);
  free = plenty_free;
  advance(svc->limits.disk_wait + 1s);
  REQUIRE(api->streams.size() == 3);
  CHECK(api->streams[2]->what.argv.back() == "pn_0:1:7");
  output("pn_0", 7, "meanwhile and after");
  CHECK(logged() == "before meanwhile and after");
  settle();
  exit("pn_0", 0, 26);
  CHECK(ending() == "completed");
  CHECK(count("output_waits_for_room") == 1);
  CHECK(count("output_waited") == 1);
}

TEST_CASE_METHOD(full_disk_world,
                 "a write that finds no room is waited for, however often, and is no failure of "
                 "the output") {
  begin();
  output("pn_0", 0, "before ");
  logs_are_full = true;
  for (std::size_t i = 1; i <= 8; ++i) { // more than poll_failures
    output("pn_0", 7, "and after");
    CHECK_FALSE(api->streams.back()->open);
    advance(svc->limits.disk_wait - 1s);
    CHECK(api->streams.size() == i);
    advance(2s);
    REQUIRE(api->streams.size() == i + 1);
    CHECK(api->streams.back()->what.argv.back() == "pn_0:1:7");
  }
  logs_are_full = false;
  CHECK(count("sandbox.poll_failed") == 0);
  CHECK(count("output_incomplete") == 0);
  CHECK(count("output_waits_for_room") == 1);
  output("pn_0", 7, "and after");
  CHECK(logged() == "before and after");
  exit("pn_0", 0, 16);
  CHECK(ending() == "completed");
  CHECK(count("output_waited") == 1);
}

TEST_CASE_METHOD(full_disk_world,
                 "an agent that ends while its output waits for room has ended once it is here") {
  begin();
  output("pn_0", 0, "said\n");
  room(0);
  output("pn_0", 5, "and more\n");
  inside_is(5, "and more\n");
  advance(2min);
  CHECK(count("pane.closed") == 0);
  CHECK(logged() == "said\n");
  free = plenty_free;
  advance(svc->limits.disk_wait + 1s);
  CHECK(logged() == "said\nand more\n");
  CHECK(ending() == "completed");
  CHECK(count("sandbox.poll_failed") == 0);
}

TEST_CASE_METHOD(full_disk_world,
                 "a run that is stopped while its output waits for room looks for the rest within "
                 "the time of a last look, and says what is missing") {
  svc->load_panes = [this](const sandbox_id&) -> result<std::vector<pane_record>> {
    auto rows = start.panes;
    rows[0].attempt = 1;
    rows[0].exit_code = -1;
    return rows;
  };
  begin();
  output("pn_0", 0, "said\n");
  room(0);
  output("pn_0", 5, "and more\n");
  inside_is(5, "and more\n");
  stop(stop_mode::graceful);
  advance(21s); // nobody hears of the agent's end: its graces pass
  REQUIRE(api->streams.size() == 2);
  CHECK(is_last_look(*api->streams[1]));
  CHECK(guest_calls("diff") == 1); // the results are here
  CHECK(all<sandbox_closed>().empty());
  SECTION("there is room meanwhile") {
    free = plenty_free;
    advance(svc->limits.last_look + 1s);
    CHECK(ending() == "cancelled");
    CHECK(api->streams.size() == 3);
    CHECK(logged() == "said\nand more\n");
    CHECK(all<output_incomplete>().empty());
  }
  SECTION("there is none") {
    advance(svc->limits.last_look_limit);
    CHECK(ending() == "cancelled");
    CHECK(api->streams.size() == 2);
    CHECK(logged() == "said\n");
    auto told = all<output_incomplete>();
    REQUIRE(told.size() == 1);
    CHECK(told[0].panes == std::vector<pane_id>{{"pn_0"}});
    CHECK(told[0].why.code == errc::disk_full);
    CHECK(told[0].why.message.starts_with("output incomplete"));
  }
  CHECK(api->boxes.empty());
}

TEST_CASE_METHOD(full_disk_world, "a pane whose output waits for room is not idle meanwhile") {
  spec->idle_limit_ms = 20'000; // less than disk_wait
  begin();
  output("pn_0", 0, "said\n");
  room(0);
  output("pn_0", 5, "and more\n");
  advance(10min);
  CHECK(count("pane.idle") == 0);
  CHECK(guest_calls("signal") == 0);
  free = plenty_free;
  advance(svc->limits.disk_wait + 1s);
  output("pn_0", 5, "and more\n");
  CHECK(logged() == "said\nand more\n");
  advance(26s); // the limit, and a tick: now its silence is its own
  CHECK(count("pane.idle") == 1);
  exit("pn_0", 0, 14);
  CHECK(ending() == "completed");
}
