// How skepd finds its skep-host: one that lives is waited for, and never joined by another one.
#include "tools/skepd/local_host.hpp"
#include "tests/sandbox/client_fixture.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

namespace {

/// A state directory whose host is the test itself. The program that would be started beside it
/// only notes that, and says what it was told to say.
struct host_world {
  scratch dir;
  std::filesystem::path host_dir = dir.path / "host" / "state";
  std::atomic<bool> answers{true};
  script_server server{[this](peer& p, const request&) {
    if (!answers) return p.wait_closed();
    p.answer(200, "[]");
  }};
  int lock = -1;

  host_world() {
    std::filesystem::create_directories(host_dir);
    std::filesystem::create_directories(dir.path / "bin");
    auto program = dir.path / "bin" / "skep-host";
    std::ofstream{program} << "#!/bin/sh\n"
                           << "echo started >>'" << (dir.path / "starts").string() << "'\n"
                           << "echo 'skep-host: no_isolation: of the test' >&2\n"
                           << "exit 1\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    lock = ::open((host_dir / "host.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(::flock(lock, LOCK_EX | LOCK_NB) == 0);
  }
  ~host_world() { end(); }

  void end() {
    if (lock >= 0) ::close(lock);
    lock = -1;
  }
  /// As a host does once it is ready.
  void say_ready() const {
    auto beside = host_dir / "ready.new";
    std::ofstream{beside} << to_line(json{{"url", server.url()}, {"pid", ::getpid()}});
    std::filesystem::rename(beside, host_dir / "ready.json");
  }
  bool says_ready() const { return std::filesystem::exists(host_dir / "ready.json"); }
  int starts() const {
    auto text = content_of(dir.path / "starts");
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }
  std::shared_ptr<tools::local_host> skepd(tools::local_host_policy policy = {}) const {
    return std::make_shared<tools::local_host>(dir.path, "in_of_a_test", tools::config{},
                                               dir.path / "bin", std::make_shared<http_engine>(),
                                               policy, host_dir);
  }
  static auto connect(std::shared_ptr<tools::local_host> host) {
    return std::async(std::launch::async, [host = std::move(host)] { return host->connect(); });
  }
};

} // namespace

TEST_CASE_METHOD(host_world,
                 "a host that lives and does not serve yet is waited for, and no other one is "
                 "started beside it") {
  tools::local_host_policy hasty;
  hasty.start = 30ms;
  hasty.look = 5ms;
  auto early = skepd(hasty)->connect();
  REQUIRE_FALSE(early);
  CHECK(early.err().code == errc::host_failed);
  CHECK(early.err().message == "it lives, but has not said where it serves");
  CHECK(starts() == 0);

  auto coming = connect(skepd());
  say_ready();
  CHECK(value_of(std::move(coming)));
  CHECK(starts() == 0);
  CHECK(says_ready());
}

TEST_CASE_METHOD(host_world,
                 "a host that does not answer for a while keeps the file that leads to it") {
  say_ready();
  answers = false;
  tools::local_host_policy hasty;
  hasty.answer = 30ms;
  auto none = skepd(hasty)->connect();
  REQUIRE_FALSE(none);
  CHECK(none.err().code == errc::host_failed);
  CHECK(none.err().message == "skep-host does not answer");
  CHECK(starts() == 0);
  CHECK(says_ready());
  answers = true;
  CHECK(skepd()->connect());
}

TEST_CASE_METHOD(host_world, "a host that ends while it is waited for makes room for another one") {
  auto coming = connect(skepd());
  end();
  auto started = value_of(std::move(coming));
  REQUIRE_FALSE(started);
  CHECK(started.err().code == errc::no_isolation);
  CHECK(starts() == 1);
}

TEST_CASE_METHOD(host_world,
                 "what a service user put in the place of the file that leads to the host is "
                 "neither waited for nor followed",
                 "[owasp-a01]") {
  const auto place = host_dir / "ready.json";
  const auto elsewhere = dir.path / "elsewhere";
  const auto good = to_line(json{{"url", server.url()}, {"pid", ::getpid()}});
  SECTION("a FIFO that nobody writes to") {
    REQUIRE(::mkfifo(place.c_str(), 0600) == 0);
  }
  SECTION("a link") {
    std::ofstream{elsewhere} << good;
    std::filesystem::create_symlink(elsewhere, place);
  }
  SECTION("a large file") {
    std::ofstream{place} << good << std::string(64 * 1024, ' ');
  }
  SECTION("another machine, which would get the key") {
    std::ofstream{place} << to_line(
        json{{"url", "http://127.0.0.1:80@keys.example"}, {"pid", ::getpid()}});
  }
  tools::local_host_policy hasty;
  hasty.start = 30ms;
  hasty.look = 5ms;
  auto coming = connect(skepd(hasty));
  const bool returned = coming.wait_for(await_limit) == std::future_status::ready;
  if (!returned) { // who waits at the FIFO is let go, so that the test ends
    auto writer = ::open(place.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    std::filesystem::remove(place);
    ::close(writer);
  }
  CHECK(returned);
  auto none = coming.get();
  REQUIRE_FALSE(none);
  CHECK(none.err().message == "it lives, but has not said where it serves");
  CHECK(server.connections() == 0);
  CHECK(starts() == 0);
}
