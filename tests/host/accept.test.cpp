// Accept loops without descriptors, the bound of connections, and signals that mean one process.
#include "host/accept.hpp"

#include "host/members.hpp"
#include "host/server.hpp"
#include "tests/host/host_fixture.hpp"

#include <sys/resource.h>
#include <sys/time.h>

using namespace skep;
using namespace skep::test;
using namespace skep::host;

namespace {

/// A server that greets each client with one byte and keeps it, with room for a few descriptors
/// only. Runs in a process of its own for 1.5 s at least, and until `parent` says something or
/// ends, 20 s at most; ends with the CPU time it used, in percent of its time, as exit code.
int greet(const std::string& path, unsigned more_descriptors, int parent) {
  auto began = std::chrono::steady_clock::now();
  asio::io_context io{1};
  local_acceptor acceptor{io, asio::local::stream_protocol::endpoint{path}};
  rlimit files{};
  int next = ::dup(0);
  ::close(next);
  files.rlim_cur = files.rlim_max = static_cast<rlim_t>(next) + more_descriptors;
  ::setrlimit(RLIMIT_NOFILE, &files);
  std::vector<local_socket> kept;
  spawn(io,
        [](asio::io_context& x, local_acceptor& a, std::vector<local_socket>& all) -> task<void> {
          accept_guard guard{x};
          for (;;) {
            error_code ec;
            auto socket = co_await a.async_accept(into(ec));
            if (ec) {
              co_await guard.failed(a, ec);
              continue;
            }
            guard.accepted();
            socket.write_some(asio::buffer("+", 1), ec);
            all.push_back(std::move(socket));
          }
        }(io, acceptor, kept));
  using std::chrono::milliseconds;
  io.run_for(milliseconds{1500});
  for (pollfd p{parent, POLLIN, 0}; ::poll(&p, 1, 0) == 0;) {
    if (std::chrono::steady_clock::now() - began > std::chrono::seconds{20}) break;
    io.run_for(milliseconds{50});
  }
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  auto passed = std::chrono::steady_clock::now() - began;
  auto cpu_ms = used.ru_utime.tv_sec * 1000 + used.ru_utime.tv_usec / 1000
                + used.ru_stime.tv_sec * 1000 + used.ru_stime.tv_usec / 1000;
  return static_cast<int>(cpu_ms * 100 / std::chrono::duration_cast<milliseconds>(passed).count());
}

} // namespace

TEST_CASE("without descriptors an accept loop neither spins nor lets its clients hang") {
  temp_dir dir;
  std::string path = dir / "s";
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  int child = ::fork();
  if (child == 0) {
    ::close(ends[1]);
    ::_exit(greet(path, 8, ends[0]));
  }
  ::close(ends[0]);
  REQUIRE(child > 0);
  REQUIRE(until([&] { // the file is there a moment before anybody listens
    try {
      raw_connection::to_unix(path);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }));
  std::vector<raw_connection> clients;
  int greeted = 0, turned_away = 0;
  for (int i = 0; i < 14; ++i) {
    auto c = raw_connection::to_unix(path);
    char byte = 0;
    pollfd p{c.fd(), POLLIN, 0};
    if (::poll(&p, 1, 1400) == 1) // an answer or an end, and no silence
      ++(::recv(c.fd(), &byte, 1, 0) == 1 ? greeted : turned_away);
    clients.push_back(std::move(c));
    if (turned_away == 3) break;
  }
  CHECK(greeted > 0);
  CHECK(turned_away > 0);
  ::close(ends[1]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) < 20); // a loop that spins uses all of its time
}

TEST_CASE("a host has room for as many connections as its open files allow") {
  CHECK(default_connections(256) == 64);
  CHECK(default_connections(1024) == 256);
  CHECK(default_connections(4096) == 1792);
  CHECK(default_connections(4096, 1) == 3584);
  CHECK(default_connections(1'048'576) == 20'000);
}

TEST_CASE("a signal reaches the member of a namespace, and no process that took its pid") {
  auto mine = [] {
    struct stat st {};
    REQUIRE(::stat("/proc/self/ns/pid", &st) == 0);
    return static_cast<std::uint64_t>(st.st_ino);
  }();
  int child = ::fork();
  if (child == 0) {
    for (;;)
      ::pause();
  }
  REQUIRE(child > 0);
  auto state = [&] {
    for (const auto& m : members_of(mine))
      if (m.pid == child) return m.state;
    return '?';
  };
  CHECK_FALSE(signal_member(child, mine + 1, SIGSTOP)); // of another sandbox
  CHECK(state() != 'T');
  CHECK(signal_member(child, mine, SIGSTOP));
  CHECK(until([&] { return state() == 'T'; }));
  CHECK(signal_member(child, mine, SIGKILL));
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  CHECK_FALSE(signal_member(child, mine, SIGCONT)); // gone
}
