#include "tools/skepd/metrics_server.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace skep::tools {
namespace {

using steady = std::chrono::steady_clock;
constexpr std::chrono::seconds connection_patience{
    5}; ///< For one connection, from accept to its last byte.
constexpr std::size_t most_request_bytes = 8 * 1024;

int left_ms(steady::time_point due) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - steady::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

bool ready(int fd, short events, steady::time_point due) {
  pollfd p{fd, events, 0};
  return left_ms(due) > 0 && ::poll(&p, 1, left_ms(due)) > 0;
}

bool send_all(int fd, std::string_view data, steady::time_point due) {
  while (!data.empty()) {
    if (!ready(fd, POLLOUT, due)) return false;
    auto n = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (n > 0) data.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

error failed(const std::string& what) {
  return make_error(errc::io, what, std::strerror(errno));
}

} // namespace

result<metrics_address> read_metrics_address(const std::string& text) {
  metrics_address out;
  if (text.starts_with("unix:/")) {
    out.unix_path = text.substr(5);
    if (out.unix_path.size() < sizeof(sockaddr_un::sun_path)) return out;
    return make_error(errc::bad_config, "the path of a socket is at most 107 bytes long");
  }
  std::string_view rest{text};
  out.v6 = rest.starts_with("[::1]:");
  if (!out.v6 && !rest.starts_with("127.0.0.1:"))
    return make_error(errc::bad_config,
                      "metrics.listen takes unix:/PATH, 127.0.0.1:PORT or [::1]:PORT");
  rest.remove_prefix(out.v6 ? 6 : 10);
  auto [end, wrong] = std::from_chars(rest.data(), rest.data() + rest.size(), out.port);
  if (wrong != std::errc{} || end != rest.data() + rest.size())
    return make_error(errc::bad_config, "metrics.listen: a port is 0 to 65535");
  return out;
}

result<std::unique_ptr<metrics_server>> metrics_server::start(const metrics_address& where,
                                                              std::function<std::string()> text) {
  std::unique_ptr<metrics_server> out{new metrics_server};
  out->text_ = std::move(text);
  auto domain = !where.unix_path.empty() ? AF_UNIX : where.v6 ? AF_INET6 : AF_INET;
  out->listener_ = ::socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (out->listener_ < 0) return failed("making the socket of metrics");
  int bound = -1;
  if (domain == AF_UNIX) {
    struct stat st {};
    if (::lstat(where.unix_path.c_str(), &st) == 0) {
      if (!S_ISSOCK(st.st_mode)) return make_error(errc::exists, where.unix_path);
      ::unlink(where.unix_path.c_str()); // of a former daemon: one owns the state directory
    }
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::memcpy(a.sun_path, where.unix_path.c_str(), where.unix_path.size() + 1);
    bound = ::bind(out->listener_, reinterpret_cast<sockaddr*>(&a), sizeof a);
    out->unix_path_ = where.unix_path;
    out->address_ = "unix:" + where.unix_path;
    if (bound == 0 && ::chmod(where.unix_path.c_str(), 0600) != 0) return failed(where.unix_path);
  } else {
    int on = 1;
    ::setsockopt(out->listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_storage at{};
    socklen_t size = 0;
    if (where.v6) {
      auto* a = reinterpret_cast<sockaddr_in6*>(&at);
      a->sin6_family = AF_INET6;
      a->sin6_addr = in6addr_loopback;
      a->sin6_port = htons(where.port);
      size = sizeof *a;
    } else {
      auto* a = reinterpret_cast<sockaddr_in*>(&at);
      a->sin_family = AF_INET;
      a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      a->sin_port = htons(where.port);
      size = sizeof *a;
    }
    bound = ::bind(out->listener_, reinterpret_cast<sockaddr*>(&at), size);
    ::getsockname(out->listener_, reinterpret_cast<sockaddr*>(&at), &size);
    auto port = ntohs(where.v6 ? reinterpret_cast<sockaddr_in6*>(&at)->sin6_port
                               : reinterpret_cast<sockaddr_in*>(&at)->sin_port);
    out->address_ = (where.v6 ? "[::1]:" : "127.0.0.1:") + std::to_string(port);
  }
  if (bound != 0 || ::listen(out->listener_, 16) != 0 || ::pipe2(out->stop_, O_CLOEXEC) != 0)
    return failed("listening for metrics at " + out->address_);
  out->thread_ = std::thread{[server = out.get()] { server->serve(); }};
  return out;
}

metrics_server::~metrics_server() {
  if (stop_[1] >= 0) ::close(stop_[1]);
  if (thread_.joinable()) thread_.join();
  if (stop_[0] >= 0) ::close(stop_[0]);
  if (listener_ >= 0) ::close(listener_);
  if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
}

void metrics_server::serve() {
  for (;;) {
    pollfd items[] = {{listener_, POLLIN, 0}, {stop_[0], POLLIN, 0}};
    if (::poll(items, 2, -1) < 0 && errno != EINTR) return;
    if (items[1].revents != 0) return;
    auto fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) continue;
    answer(fd);
    ::close(fd);
  }
}

void metrics_server::answer(int connection) {
  auto due = steady::now() + connection_patience;
  std::string request;
  char piece[1024];
  while (request.find("\r\n\r\n") == std::string::npos) {
    if (request.size() > most_request_bytes || !ready(connection, POLLIN, due)) return;
    auto n = ::recv(connection, piece, sizeof piece, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return;
    if (n > 0) request.append(piece, static_cast<std::size_t>(n));
  }
  bool known = request.starts_with("GET /metrics ") || request.starts_with("GET /metrics?");
  auto body = known ? text_() : std::string{"only GET /metrics is here\n"};
  std::string head = known ? "HTTP/1.1 200 OK\r\n" : "HTTP/1.1 404 Not Found\r\n";
  head += "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\n"
          "Content-Length: "
          + std::to_string(body.size()) + "\r\n\r\n";
  if (send_all(connection, head, due)) send_all(connection, body, due);
  ::shutdown(connection, SHUT_WR);
}

} // namespace skep::tools
