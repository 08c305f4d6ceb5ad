// Whose socket is spoken to, and what binding one leaves alone.
#include "broker/sockets.hpp"
#include "broker/client.hpp"
#include "broker/events_client.hpp"
#include "broker/output_client.hpp"
#include "tests/broker/fake_world.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/skip.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>

using namespace skep;
using namespace skep::broker;
using namespace skep::broker_test;

namespace {

constexpr uid_t stranger_uid = 65534;

reply_frame empty_list_desk(const request_frame& r) {
  return answer<list_reply>(r, list_reply{});
}

/// A process of another user that listens at `paths` and ends with 1 as soon as somebody says
/// anything to it. Only root can start one.
class listening_stranger {
public:
  explicit listening_stranger(const std::vector<std::string>& paths) {
    int ready[2];
    if (::pipe(ready) != 0) throw std::runtime_error("pipe");
    pid_ = ::fork();
    if (pid_ == 0) listen_at(paths, ready[1]);
    ::close(ready[1]);
    char byte = 0;
    bool up = ::read(ready[0], &byte, 1) == 1;
    ::close(ready[0]);
    if (!up) throw std::runtime_error("the stranger does not listen");
  }
  listening_stranger(const listening_stranger&) = delete;
  listening_stranger& operator=(const listening_stranger&) = delete;
  ~listening_stranger() {
    if (pid_ > 0) static_cast<void>(end());
  }

  /// Ends it; true when nobody had said anything to it.
  bool end() {
    ::kill(pid_, SIGKILL);
    int status = 0;
    auto found = ::waitpid(pid_, &status, 0) == pid_;
    pid_ = -1;
    return found && WIFSIGNALED(status);
  }

private:
  /// The child: what is called here is safe after a fork() beside other threads.
  [[noreturn]] static void listen_at(const std::vector<std::string>& paths, int ready) {
    if (::setgid(stranger_uid) != 0 || ::setuid(stranger_uid) != 0) ::_exit(9);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::array<pollfd, 8> fds{};
    nfds_t count = 0;
    for (const auto& path : paths) {
      int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path.copy(address.sun_path, sizeof address.sun_path - 1);
      if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) ::_exit(8);
      if (::listen(fd, 16) != 0) ::_exit(7);
      fds.at(count++) = {fd, POLLIN, 0};
    }
    if (::write(ready, "x", 1) != 1) ::_exit(6);
    for (;;) {
      if (::poll(fds.data(), count, -1) < 0) ::_exit(5);
      for (nfds_t i = 0; i < count; ++i) {
        if ((fds.at(i).revents & POLLIN) == 0) continue;
        int connection = ::accept(fds.at(i).fd, nullptr, nullptr);
        // The greeting of ZMTP, or a request; one that only looked has closed it.
        char byte = 0;
        if (::read(connection, &byte, 1) > 0) ::_exit(1);
        ::close(connection);
      }
    }
  }

  pid_t pid_ = -1;
};

} // namespace

TEST_CASE("nothing is said to a socket in a folder that other users may write to") {
  scratch_dir dir;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), empty_list_desk};
  auto run = dir.path + "/run";
  control_client client{edge.where.control};
  REQUIRE(client.call(list_request{}, 5s).ok());
  CHECK_FALSE(listener_refused(edge.where.events));
  for (mode_t open : {0702, 0720, 0777}) {
    INFO("mode " << open);
    REQUIRE(::chmod(run.c_str(), open) == 0);
    auto said = client.call(list_request{}, 5s);
    REQUIRE_FALSE(said.ok());
    CHECK(said.err().code == errc::io);
    CHECK(said.err().message.find(edge.where.control) != std::string::npos);
    CHECK(said.err().message.find("chmod 700 " + run) != std::string::npos);
    CHECK(event_stream::follow(edge.where, 1, {}).err().code == errc::io);
    CHECK(output_stream::open(edge.where, {}).err().code == errc::io);
  }
  // Others may look where they may not write: files may have such modes for a moment.
  REQUIRE(::chmod(run.c_str(), 0755) == 0);
  CHECK(client.call(list_request{}, 5s).ok());
  // Where a run folder is a link of ours, what it leads to counts.
  auto other = dir.path + "/state";
  REQUIRE(::mkdir(other.c_str(), 0700) == 0);
  REQUIRE(::symlink(run.c_str(), (other + "/run").c_str()) == 0);
  control_client through{endpoints_of(other).control};
  CHECK(through.call(list_request{}, 5s).ok());
  REQUIRE(::chmod(run.c_str(), 0777) == 0);
  CHECK(through.call(list_request{}, 5s).err().code == errc::io);
  // Nobody there is told as such, whatever the folder.
  edge.stop();
  CHECK(client.call(list_request{}, 5s).err().code == errc::no_daemon);
}

TEST_CASE("nothing is said to a daemon of another user") {
  if (::geteuid() != 0) SKEP_SKIP("only root becomes another user");
  scratch_dir dir;
  auto where = endpoints_of(dir.path);
  auto run = dir.path + "/run";
  // As one finds it in /tmp after a restart: somebody else was the first to make the folder.
  REQUIRE(::chmod(dir.path.c_str(), 0755) == 0);
  REQUIRE(::mkdir(run.c_str(), 0700) == 0);
  REQUIRE(::chown(run.c_str(), stranger_uid, stranger_uid) == 0);
  listening_stranger stranger{{where.control, where.replay, where.events}};
  control_client client{where.control};
  int revived = 0;
  client.on_absent([&] {
    ++revived;
    return error{};
  });
  auto refused = [&](const error& e, const std::string& path) {
    CHECK(e.code == errc::io);
    CHECK(e.message.find(path) != std::string::npos);
    CHECK(e.message.find("the id 65534") != std::string::npos);
  };
  auto all_refused = [&] {
    auto said = client.call(send_request{}, 5s, "key-1");
    REQUIRE_FALSE(said.ok());
    refused(said.err(), where.control);
    auto stream = event_stream::follow(where, 1, {});
    REQUIRE_FALSE(stream.ok());
    refused(stream.err(), where.events);
    auto output = output_stream::open(where, {});
    REQUIRE_FALSE(output.ok());
    refused(output.err(), where.events);
    refused(listener_refused(where.replay), where.replay);
  };
  all_refused();
  // The folder is ours, the listener is not.
  REQUIRE(::chown(run.c_str(), ::geteuid(), ::getegid()) == 0);
  all_refused();
  CHECK(somebody_listens(where.control));
  CHECK(revived == 0); // it is not as if nobody were there
  CHECK(stranger.end());
  // The listener is ours, the folder is not: at the next moment it may be another one.
  scratch_dir second;
  fake_edge own{second.path, std::make_shared<memory_journal>(), empty_list_desk};
  REQUIRE(::chown((second.path + "/run").c_str(), stranger_uid, stranger_uid) == 0);
  refused(listener_refused(own.where.control), "the folder of " + own.where.control);
}

TEST_CASE("folders that are made while sockets are bound have the modes they were made with") {
  scratch_dir dir;
  constexpr int binds = 1000;
  auto before = ::umask(022);
  std::atomic<bool> done{false};
  std::atomic<int> made{0};
  std::atomic<int> wrong{0};
  std::thread maker{[&, path = dir.path + "/folder"] {
    while (!done) {
      struct stat st {};
      if (::mkdir(path.c_str(), 0700) != 0 || ::lstat(path.c_str(), &st) != 0
          || (st.st_mode & 0777) != 0700)
        ++wrong;
      ::rmdir(path.c_str());
      ++made;
      made.notify_all();
    }
  }};
  made.wait(0);
  zmq_context context{::zmq_ctx_new()};
  auto socket = make_socket(context.get(), ZMQ_PULL);
  error first;
  int open = 0;
  for (int i = 0; i < binds; ++i) {
    auto path = dir.path + "/run/s" + std::to_string(i);
    if (auto e = bind_private(socket.get(), path); e && !first) first = e;
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0 || (st.st_mode & 0777) != 0600) ++open;
    ::zmq_unbind(socket.get(), ("ipc://" + path).c_str());
  }
  auto during = made.load();
  done = true;
  maker.join();
  auto after = ::umask(before);
  INFO(render(first));
  CHECK_FALSE(first);
  CHECK(open == 0);
  CHECK(after == 022);
  CHECK(during > 0);
  CHECK(wrong == 0);
}
