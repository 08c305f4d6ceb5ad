#include "broker/client.hpp"
#include "tests/broker/fake_world.hpp"
#include "tests/support/catch.hpp"

#include <condition_variable>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <zmq.hpp>

using namespace skep;
using namespace skep::broker;
using namespace skep::broker_test;

namespace {

/// Answers list with one swarm whose name is the key, anything else with not_found.
reply_frame list_desk(const request_frame& r) {
  if (r.command != command_traits<list_request>::number)
    return answer<list_reply>(r, make_error(errc::not_found, "of this desk"));
  list_reply out;
  out.swarms.emplace_back().name = r.key;
  return answer<list_reply>(r, out);
}

int mode_of(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? static_cast<int>(st.st_mode & 0777) : -1;
}

/// One raw exchange, for frames that the client library would not send.
struct raw_client {
  zmq::context_t context{1};
  zmq::socket_t socket{context, zmq::socket_type::dealer};
  explicit raw_client(const std::string& path) {
    socket.set(zmq::sockopt::linger, 0);
    socket.connect("ipc://" + path);
  }
  void send(std::string_view frame) { socket.send(zmq::buffer(frame), zmq::send_flags::none); }
  result<reply_frame> receive(std::chrono::milliseconds limit = 5000ms) {
    socket.set(zmq::sockopt::rcvtimeo, static_cast<int>(limit.count()));
    zmq::message_t part;
    if (!socket.recv(part)) return make_error(errc::timed_out);
    return unpack<reply_frame>(part.to_string_view());
  }
};

} // namespace

TEST_CASE("a call reaches the desk and its answer comes back") {
  scratch_dir dir;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), list_desk};
  control_client client{edge.where.control};
  auto reply = client.call(list_request{}, 5s, "key-7");
  REQUIRE(reply.ok());
  REQUIRE(reply->swarms.size() == 1);
  CHECK(reply->swarms[0].name == "key-7");
  auto refused = client.call(status_request{}, 5s);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.err().code == errc::not_found);
}

TEST_CASE("the sockets are for their owner alone, whatever the umask", "[owasp-a01]") {
  scratch_dir dir;
  auto old = ::umask(0);
  fake_edge edge{dir.path, std::make_shared<memory_journal>()};
  ::umask(old);
  CHECK(mode_of(dir.path + "/run") == 0700);
  CHECK(mode_of(edge.where.control) == 0600);
  CHECK(mode_of(edge.where.replay) == 0600);
  CHECK(mode_of(edge.where.events) == 0600);
}

TEST_CASE("who asks is read from what ZeroMQ calls the peer's address") {
  auto p = read_peer("localhost:1000:1001:4242");
  CHECK(p.uid == 1000);
  CHECK(p.pid == 4242);
  for (const char* other : {"", "localhost", "127.0.0.1", "a:b:c:d", "::1", "x:1:2:"})
    CHECK(read_peer(other).uid == -1);
  CHECK(read_peer(nullptr).pid == 0);
}

TEST_CASE("a process of another user is not served even when the file modes would let it in") {
  if (::geteuid() != 0) {
    WARN("needs root to become another user");
    return;
  }
  scratch_dir dir;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), list_desk};
  for (const auto& p : {dir.path, dir.path + "/run"})
    REQUIRE(::chmod(p.c_str(), 0755) == 0);
  REQUIRE(::chmod(edge.where.control.c_str(), 0666) == 0);
  auto frame = pack_request(1, {}, list_request{});
  auto child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(9);
    // The greeting of ZMTP; a socket that serves us sends its own first.
    int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    edge.where.control.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) ::_exit(8);
    char byte = 0;
    ::_exit(::read(fd, &byte, 1) > 0 ? 1 : 0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
  control_client own{edge.where.control};
  CHECK(own.call(list_request{}, 5s).ok());
}

TEST_CASE("the socket of a dead daemon is replaced, another file is not") {
  scratch_dir dir;
  auto where = endpoints_of(dir.path);
  { fake_edge first{dir.path, std::make_shared<memory_journal>()}; }
  std::filesystem::create_directories(dir.path + "/run");
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  where.control.copy(address.sun_path, sizeof address.sun_path - 1);
  ::unlink(where.control.c_str());
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
  CHECK_FALSE(somebody_listens(where.control));
  fake_edge second{dir.path, std::make_shared<memory_journal>(), list_desk};
  control_client client{where.control};
  CHECK(client.call(list_request{}, 5s).ok());

  auto file = dir.path + "/run/file";
  ::close(::open(file.c_str(), O_CREAT | O_WRONLY, 0600));
  CHECK(prepare_socket_path(file).code == errc::io);
  CHECK(std::filesystem::exists(file));
}

TEST_CASE("a path that is too long for a socket is refused with the limit") {
  scratch_dir dir;
  auto e = check_socket_path(dir.path + "/" + std::string(120, 'x'));
  CHECK(e.code == errc::bad_argument);
  CHECK(e.message.find("107") != std::string::npos);
  CHECK(check_socket_path("relative").code == errc::bad_argument);
  system_config config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  publisher_config p;
  p.path = dir.path + "/" + std::string(120, 'x');
  auto publisher = start_publisher(system, p);
  self->monitor(publisher);
  publisher = nullptr;
  errc seen = errc::none;
  self->receive([&](caf::down_msg& d) { seen = actors::from_caf(d.reason).code; });
  CHECK(seen == errc::bad_argument);
}

TEST_CASE("nobody there is told at once, as is a daemon that ends before it answers") {
  scratch_dir dir;
  auto where = endpoints_of(dir.path);
  control_client early{where.control};
  auto begin = std::chrono::steady_clock::now();
  CHECK(early.call(list_request{}, 30s).err().code == errc::no_daemon);
  CHECK(std::chrono::steady_clock::now() - begin < 5s);

  std::mutex mutex;
  std::condition_variable entered;
  bool in = false;
  auto edge = std::make_unique<fake_edge>(dir.path, std::make_shared<memory_journal>(),
                                          [&](const request_frame& r) {
                                            if (r.command == command_traits<list_request>::number)
                                              return list_desk(r);
                                            std::unique_lock lock{mutex};
                                            in = true;
                                            entered.notify_all();
                                            entered.wait(lock, [&] { return !in; });
                                            return list_desk(r);
                                          });
  CHECK(early.call(list_request{}, 5s).ok());
  result<stop_reply> reply{stop_reply{}};
  std::thread caller{[&] { reply = early.call(stop_request{}, 30s); }};
  {
    std::unique_lock lock{mutex};
    entered.wait(lock, [&] { return in; });
  }
  caf::anon_send_exit(edge->control, caf::exit_reason::user_shutdown);
  caller.join();
  {
    std::lock_guard lock{mutex};
    in = false;
  }
  entered.notify_all();
  edge.reset();
  REQUIRE_FALSE(reply.ok());
  CHECK(reply.err().code == errc::no_daemon);
}

TEST_CASE("a request without its daemon is asked of the next one where that is harmless") {
  scratch_dir dir;
  auto where = endpoints_of(dir.path);
  std::unique_ptr<fake_edge> edge;
  int revived = 0;
  error refusal;
  control_client client{where.control};
  client.on_absent([&] {
    ++revived;
    if (!refusal)
      edge = std::make_unique<fake_edge>(dir.path, std::make_shared<memory_journal>(), list_desk);
    return refusal;
  });
  // It only reads.
  REQUIRE(client.call(list_request{}, 30s).ok());
  CHECK(revived == 1);
  // With a key, a repeat is the same command; this desk refuses it, so it was asked.
  edge.reset();
  CHECK(client.call(stop_request{}, 30s, "key-1").err().code == errc::not_found);
  CHECK(revived == 2);
  // Without one it might be done twice; a daemon is not asked to end in the place of another.
  edge.reset();
  CHECK(client.call(stop_request{}, 30s).err().code == errc::no_daemon);
  CHECK(client.call(daemon_stop_request{}, 30s).err().code == errc::no_daemon);
  CHECK(revived == 2);
  // A panic goes on at the next one: at most what is to be dead is killed again.
  CHECK(client.call(survivors_request{{}, {}, true}, 30s).err().code == errc::not_found);
  CHECK(revived == 3);
  edge.reset();
  refusal = make_error(errc::bad_config, "of the next one");
  CHECK(client.call(list_request{}, 30s).err().code == errc::bad_config);
  CHECK(revived == 4);
}

TEST_CASE("a slow desk makes the call time out, and its late answer disturbs nobody") {
  scratch_dir dir;
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), [&](const request_frame& r) {
                   if (r.command == command_traits<stop_request>::number) {
                     std::unique_lock lock{mutex};
                     changed.wait(lock, [&] { return open; });
                   }
                   return list_desk(r);
                 }};
  control_client client{edge.where.control};
  CHECK(client.call(stop_request{}, 50ms).err().code == errc::timed_out);
  {
    control_client gone{edge.where.control};
    CHECK(gone.call(stop_request{}, 50ms).err().code == errc::timed_out);
  }
  {
    std::lock_guard lock{mutex};
    open = true;
  }
  changed.notify_all();
  auto reply = client.call(list_request{}, 5s, "mine");
  REQUIRE(reply.ok());
  CHECK(reply->swarms.at(0).name == "mine");
}

TEST_CASE("foreign versions, unknown commands and garbage get an answer") {
  scratch_dir dir;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), list_desk};
  raw_client client{edge.where.control};
  client.send(pack(request_frame{99, 5, {}, 1, {}}));
  auto reply = client.receive();
  REQUIRE(reply.ok());
  CHECK(reply->failure.code == errc::wrong_version);
  CHECK(reply->version == protocol_version);
  CHECK(reply->id == 5);
  client.send(pack(request_frame{1, 6, {}, 77, {}}));
  reply = client.receive();
  REQUIRE(reply.ok());
  CHECK(reply->failure.code == errc::unknown_command);
  CHECK(reply->id == 6);
  client.send("garbage");
  reply = client.receive();
  REQUIRE(reply.ok());
  CHECK(reply->failure.code == errc::bad_frame);
  CHECK(reply->id == 0);
  // Two parts are not a request.
  client.socket.send(zmq::buffer(std::string_view{"a"}), zmq::send_flags::sndmore);
  client.send("b");
  reply = client.receive();
  REQUIRE(reply.ok());
  CHECK(reply->failure.code == errc::bad_frame);
}

TEST_CASE("a part over the limit ends its sender's connection and nothing else") {
  scratch_dir dir;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), list_desk};
  control_client other{edge.where.control};
  REQUIRE(other.call(list_request{}, 5s).ok());
  raw_client client{edge.where.control};
  client.send(std::string(max_request_bytes + 100, 'x'));
  CHECK_FALSE(client.receive(200ms).ok());
  CHECK(other.call(list_request{}, 5s).ok());
  send_request big;
  big.data.data.assign(max_request_bytes, 'x');
  CHECK(other.call(big, 5s).err().code == errc::too_large);
}

TEST_CASE("bytes that are no ZeroMQ at all do not disturb the daemon") {
  scratch_dir dir;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), list_desk};
  for (const std::string& noise :
       {std::string{"GET / HTTP/1.1\r\n\r\n"}, std::string(4096, '\xff'), std::string{}}) {
    int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    edge.where.control.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    (void)::send(fd, noise.data(), noise.size(), MSG_NOSIGNAL);
    ::close(fd);
  }
  control_client client{edge.where.control};
  CHECK(client.call(list_request{}, 5s).ok());
}

TEST_CASE("a client that sends too fast is told to wait, another is served") {
  scratch_dir dir;
  control_limits limits;
  limits.burst = 3;
  limits.requests_per_second = 0.001;
  fake_edge edge{dir.path, std::make_shared<memory_journal>(), list_desk, limits};
  control_client fast{edge.where.control};
  for (int i = 0; i < 3; ++i)
    REQUIRE(fast.call(list_request{}, 5s).ok());
  auto e = fast.call(list_request{}, 5s).err();
  CHECK(e.code == errc::rate);
  CHECK(e.retry_after_ms > 0);
  control_client other{edge.where.control};
  CHECK(other.call(list_request{}, 5s).ok());
}

TEST_CASE("a desk that is down is told, and found again when it is back") {
  scratch_dir dir;
  system_config config;
  caf::actor_system system{config};
  auto where = endpoints_of(dir.path);
  std::mutex mutex;
  actors::desk_actor desk;
  control_config c;
  c.control_path = where.control;
  c.replay_path = where.replay;
  c.desk_for = [&](std::uint32_t) {
    std::lock_guard lock{mutex};
    return desk;
  };
  auto control = start_control(system, c);
  control_client client{where.control};
  auto code = [&] {
    auto r = client.call(list_request{}, 5s);
    return r.ok() ? errc::none : r.err().code;
  };
  auto end = std::chrono::steady_clock::now() + 10s;
  while (!somebody_listens(where.control) && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  CHECK(code() == errc::shutting_down);
  {
    std::lock_guard lock{mutex};
    desk = spawn_desk(system, list_desk);
  }
  CHECK(code() == errc::none);
  {
    caf::scoped_actor self{system};
    self->monitor(desk);
    self->send_exit(desk, caf::exit_reason::kill);
    self->receive([](const caf::down_msg&) {});
  }
  CHECK(code() == errc::shutting_down);
  desk = nullptr;
  caf::anon_send_exit(control, caf::exit_reason::user_shutdown);
}
