// HTTP/2 over TLS: Debian's nghttpx in front of the scripted server, as the proxies of a cloud are.
#include "tests/sandbox/client_fixture.hpp"

#include "tests/support/localhost_certificate.hpp"
#include "tests/support/skip.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace skep;
using namespace skep::sandbox;
using namespace skep::sandbox::test;

namespace {

constexpr const char* nghttpx = "/usr/sbin/nghttpx";

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ::bind(fd, reinterpret_cast<sockaddr*>(&at), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  ::close(fd);
  return ntohs(at.sin_port);
}

/// nghttpx with TLS and HTTP/2 before a scripted server; ends with the object.
class proxy {
public:
  explicit proxy(const script_server& behind) {
    const skep::test::localhost_certificate own;
    own.write_key(dir_.path / "key.pem");
    own.write(certificate());
    const auto port_behind = behind.url().substr(behind.url().rfind(':') + 1);
    // It cannot be given port 0; another program may take the one that was free.
    for (int i = 0; i < 5 && pid_ <= 0; ++i)
      start(std::to_string(free_port()), port_behind);
    REQUIRE(pid_ > 0);
  }
  ~proxy() { stop(); }
  proxy(const proxy&) = delete;
  proxy& operator=(const proxy&) = delete;

  std::string url() const { return "https://localhost:" + port_; }
  std::filesystem::path certificate() const { return dir_.path / "certificate.pem"; }

private:
  void start(const std::string& port, const std::string& port_behind) {
    std::vector<std::string> argv{nghttpx,
                                  "--conf=/dev/null",
                                  "--no-ocsp",
                                  "--workers=1",
                                  "--errorlog-file=/dev/stderr",
                                  "--accesslog-file=/dev/null",
                                  "--frontend=127.0.0.1," + port,
                                  "--backend=127.0.0.1," + port_behind,
                                  "--backend-connections-per-host=400",
                                  dir_.path / "key.pem",
                                  certificate()};
    std::vector<char*> args;
    for (auto& x : argv)
      args.push_back(x.data());
    args.push_back(nullptr);
    int out[2];
    REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    posix_spawn_file_actions_adddup2(&files, out[1], 2);
    const auto failed = ::posix_spawn(&pid_, nghttpx, &files, nullptr, args.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    ::close(out[1]);
    REQUIRE(failed == 0);
    log_ = out[0];
    port_ = port;
    std::string text;
    char piece[4096];
    pollfd ready{log_, POLLIN, 0};
    while (text.find("Listening on 127.0.0.1:" + port) == std::string::npos) {
      const auto n = ::poll(&ready, 1, 10'000) > 0 ? ::read(log_, piece, sizeof piece) : 0;
      if (n <= 0) return stop();
      text.append(piece, static_cast<std::size_t>(n));
    }
  }
  void stop() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
    if (log_ >= 0) ::close(std::exchange(log_, -1));
  }

  scratch dir_;
  std::string port_;
  pid_t pid_ = -1;
  int log_ = -1;
};

engine_options trusting(const proxy& p) {
  engine_options out;
  out.ca_file = p.certificate();
  return out;
}

} // namespace

TEST_CASE("over TLS requests share one HTTP/2 connection, and each stream has its own") {
  if (::access(nghttpx, X_OK) != 0) SKEP_SKIP("nghttpx is not installed");
  constexpr int many = 60;
  watched<int> inside{0};
  script_server server{[&](auto& p, auto& r) {
    if (r.path() == "/process.Process/Start") {
      p.begin_chunks(200, {"Content-Type: application/connect+json"});
      p.chunk(start_event(1) + data_event("hello"));
      return p.wait_closed();
    }
    inside.change([](int& n) { ++n; });
    inside.until([](int n) { return n >= many; }); // all are in flight at once
    p.answer(204);
  }};
  proxy front{server};
  auto engine = std::make_shared<http_engine>(trusting(front));
  auto owned = std::make_unique<client>(engine, endpoint{"h2", front.url(), front.url(), "", key});
  auto& api = *owned;

  watched<int> lines{0}, ended{0};
  for (int i = 0; i < 40; ++i) {
    stream_handlers h;
    h.on_stdout = [&](std::string_view) {
      lines.change([](int& n) { ++n; });
      return true;
    };
    h.on_end = [](auto) {};
    api.open_stream({"i" + std::to_string(i), "t", ""}, argv({"x"}), h);
  }
  REQUIRE(lines.until([](int n) { return n == 40; }));
  std::atomic<int> good{0};
  for (int i = 0; i < many; ++i)
    api.health({"i" + std::to_string(i), "t", ""}, [&](auto r) {
      good += r.ok();
      ended.change([](int& n) { ++n; });
    });
  REQUIRE(ended.until([](int n) { return n == many; }));
  CHECK(good == many);
  CHECK(engine->stats().connections_opened == 1); // of the 60; streams count when they end
  CHECK(server.connections() >= many);            // behind the proxy it is HTTP/1.1
  owned.reset();
  std::promise<void> cancelled; // behind the cancels of the streams
  engine->post([&] { cancelled.set_value(); });
  value_of(cancelled.get_future());
  CHECK(engine->stats().connections_opened == 41);
}

TEST_CASE("a slow consumer over TLS pushes back, and other streams of its host go on") {
  if (::access(nghttpx, X_OK) != 0) SKEP_SKIP("nghttpx is not installed");
  watched<std::size_t> stalled_at{0};
  script_server server{[&](auto& p, auto& r) {
    p.begin_chunks(200, {"Content-Type: application/connect+json"});
    p.chunk(start_event(1));
    if (r.header("e2b-sandbox-id") == "islow") {
      const auto piece = data_event(std::string(32'000, 'x'));
      char size[32];
      std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
      const auto chunk = size + piece + "\r\n";
      for (std::size_t sent = 0;;) {
        const auto n = p.send_until_stalled(chunk, 400);
        sent += n;
        if (n == chunk.size() && sent < (256U << 20U)) continue;
        stalled_at.change([&](std::size_t& at) { at = sent; });
        return p.wait_closed();
      }
    }
    while (!p.closed_within(5) && p.chunk(data_event("tick")))
      ;
  }};
  proxy front{server};
  auto engine = std::make_shared<http_engine>(trusting(front));
  client api{engine, {"h2", front.url(), front.url(), "", key}};
  watched<int> ticks{0};
  std::atomic<int> calls{0};
  stream_handlers slow;
  slow.on_stdout = [&](std::string_view) {
    ++calls;
    return false;
  };
  slow.on_end = [](auto) {};
  api.open_stream({"islow", "t", ""}, argv({"yes"}), slow);
  stream_handlers quick;
  quick.on_stdout = [&](std::string_view) {
    ticks.change([](int& n) { ++n; });
    return true;
  };
  quick.on_end = [](auto) {};
  api.open_stream({"iquick", "t", ""}, argv({"x"}), quick);
  REQUIRE(stalled_at.until([](std::size_t n) { return n > 0; }));
  CHECK(stalled_at.get() < (64U << 20U)); // what sockets and the proxy hold
  CHECK(calls == 1);
  const int before = ticks.get();
  CHECK(ticks.until([&](int n) { return n > before + 5; }));
}

TEST_CASE("a certificate that nobody vouches for is a failure of the network, and no key is sent") {
  if (::access(nghttpx, X_OK) != 0) SKEP_SKIP("nghttpx is not installed");
  script_server server{[](auto& p, auto&) { p.answer(204); }};
  proxy front{server};
  auto engine = std::make_shared<http_engine>();
  client api{engine, {"h2", front.url(), front.url(), "", key}};
  CHECK(await<void>([&](auto then) { api.health(box, then); }).err().code == errc::network);
  CHECK(server.requests().empty());
}
