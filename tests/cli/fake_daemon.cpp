// A stand-in for skepd: the real PUBLISHER and CONTROL over a journal in memory, and a swarm that
// plays a short script. It takes the lock of the state directory as skepd does.
//
//   fake_daemon --state DIR
//
// What a run does is said by the spec's name:
//   completes    every pane starts, prints two lines, ends with 0
//   fails        as above, but pane 0 ends with 3
//   auth         as fails, and the reason is agent_auth
//   runs         as completes, but nothing ends before it is stopped
//   collides     as runs, and at its end it is told that a.py was changed by two panes
//   stubborn     as runs, and stopping takes for ever
//   long         as completes, with 300 long lines more
//   keeps        as completes, and its sandboxes stay for an hour; a stop of it is refused, and a
//                kill ends them
//   unconfirmed  as completes, and the provider confirms no kill of its sandboxes
//   replaced     as runs, and the first sandbox was lost and has a successor
//   later        nothing is there when its status is asked for the first two times; each further
//                time brings a sandbox, and at last the end
// The last run_request that came lies in DIR/fake-run, packed.
// A file DIR/fake-version holds the version that it claims to be. With a file DIR/fake-lingers it
// does not end when it is asked to: it makes DIR/fake-ending, and the next request is refused with
// shutting_down and is its last. While there is a file DIR/fake-slow at its start it has the lock
// and listens nowhere, as one that looks through a large database. With DIR/fake-refuses-stop it
// refuses stops, and with DIR/fake-slow-history it answers no replay in time. DIR/fake-results
// names a folder that becomes the results of a run named collides. DIR/fake-closed holds the id of
// a swarm that one before it is said to have closed.
#include "messages/release.hpp"
#include "storage/files.hpp"
#include "storage/state_dir.hpp"
#include "tests/broker/fake_world.hpp"
#include "tests/cli/fake_swarms.hpp"

#include <csignal>
#include <cstdio>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

using namespace skep;
using namespace skep::broker_test;

int main(int argc, char** argv) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGUSR1); // daemon.stop
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);
  if (argc != 3 || std::string_view{argv[1]} != "--state") {
    std::fputs("usage: fake_daemon --state DIR\n", stderr);
    return 64;
  }
  auto paths = storage::prepare_state(argv[2]);
  if (!paths) {
    std::fprintf(stderr, "%s\n", render(paths.err()).c_str());
    return info(paths.err().code).exit_code;
  }
  if (storage::path_exists(paths->root / "fake-refuse")) {
    std::fputs("fake_daemon: refuses to start, as it was told\n", stderr);
    return 74;
  }
  int fd = ::signalfd(-1, &ends, SFD_CLOEXEC);
  // While the file is there; false when it is to end before that.
  auto waited_for = [&](const char* file) {
    pollfd item{fd, POLLIN, 0};
    while (storage::path_exists(paths->root / file))
      if (::poll(&item, 1, 20) > 0) return false;
    return true;
  };
  if (!waited_for("fake-late")) return 0;
  auto lock = storage::state_lock::acquire(*paths);
  if (!lock) {
    std::fprintf(stderr, "skepd: %s\n", render(lock.err()).c_str());
    return info(lock.err().code).exit_code;
  }
  if (!waited_for("fake-slow")) return 0;
  if (!storage::path_exists(paths->root)) return 0; // the test is over
  std::string version{release_version};
  if (auto text = storage::read_file(paths->root / "fake-version", 100)) version = *text;

  auto journal = std::make_shared<memory_journal>();
  journal->before_replay = [slow = paths->root / "fake-slow-history"](const replay_request&) {
    return storage::path_exists(slow) ? make_error(errc::timed_out, "as it was told") : error{};
  };
  cli_test::fake_swarms swarms{journal, version, paths->root.string()};
  fake_edge edge{paths->root.string(), journal,
                 [&](const request_frame& r) { return swarms.answer_request(r); }};
  swarms.attach(edge);
  signalfd_siginfo info{};
  while (::read(fd, &info, sizeof info) < 0) {
  }
  edge.stop();
  return 0;
}
