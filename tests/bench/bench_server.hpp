// The server of bench_http, in a process of its own so that its work is not measured: one thread,
// epoll, HTTP/1.1 as far as the bench needs it.
//
//   GET /s...   an open stream of chunks; chunks of 100 bytes come when the bench asks for them
//   other       a JSON answer of 100 bytes
//
// The bench steers it by single bytes: C one chunk to every stream; K a chunk to every stream each
// 50 s, spread evenly, as keepalives come; k no more of them. It ends when the bench does.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace skep::bench {

/// Raises the limit of open files as far as it goes; gives what it is now.
inline rlim_t raise_open_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

class http_server {
public:
  /// Forks the server; before any thread is made.
  http_server() {
    const int listener = listen_on_loopback();
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(pipe[1]);
      http_server{listener, pipe[0]}.serve();
      ::_exit(0);
    }
    ::close(listener);
    ::close(pipe[0]);
    steer_ = pipe[1];
  }
  ~http_server() {
    if (pid_ <= 0) return;
    ::close(steer_);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  void steer(char what) const {
    if (::write(steer_, &what, 1) != 1) throw std::runtime_error("the server is gone");
  }

private:
  http_server(int listener, int steer) : steer_(steer), listener_(listener) {}

  int listen_on_loopback() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(fd, 4096) != 0
        || ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("cannot listen");
    port_ = ntohs(at.sin_port);
    return fd;
  }

  void serve() {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    watch(listener_);
    watch(steer_);
    std::array<epoll_event, 256> events;
    for (;;) {
      const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                                 keepalive_ ? 100 : -1);
      for (int i = 0; i < n; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == listener_)
          accept_all();
        else if (fd == steer_)
          obey();
        else
          read(fd);
      }
      if (n == 0 && !streams_.empty()) // a tenth of a second: the 500th part of 50 s
        for (std::size_t i = 0; i < streams_.size() / 500 + 1; ++i)
          send(streams_[next_++ % streams_.size()], chunk);
    }
  }
  void watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  void accept_all() {
    for (int fd;
         (fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(fd);
    }
  }
  void obey() {
    char what = 0;
    if (::read(steer_, &what, 1) <= 0) ::_exit(0);
    if (what == 'C')
      for (int fd : streams_)
        send(fd, chunk);
    keepalive_ = what == 'K' || (keepalive_ && what != 'k');
  }
  void read(int fd) {
    std::array<char, 4096> piece;
    const auto n = ::recv(fd, piece.data(), piece.size(), 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      ::close(fd);
      heads_.erase(fd);
      std::erase(streams_, fd);
      return;
    }
    auto& head = heads_[fd];
    head.append(piece.data(), static_cast<std::size_t>(n));
    for (std::size_t end; (end = head.find("\r\n\r\n")) != std::string::npos;) {
      const bool stream = head.starts_with("GET /s");
      head.erase(0, end + 4);
      send(fd, stream ? stream_head : answer);
      if (stream) streams_.push_back(fd);
    }
    if (head.empty()) heads_.erase(fd);
  }
  static void send(int fd, std::string_view bytes) {
    [[maybe_unused]] auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

  static constexpr std::string_view answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
      "{\"sandboxID\":\"i0123456789abcdefghij\",\"state\":\"running\",\"templateID\":\"base\","
      "\"clientID\":\"0000000000\" }";
  static constexpr std::string_view chunk =
      "64\r\n"
      "{\"event\":{\"data\":{\"stdout\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}}\r\n";
  static constexpr std::string_view stream_head =
      "HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n"
      "\r\n1\r\n \r\n";
  static_assert(answer.size() - answer.find("\r\n\r\n") - 4 == 100);
  static_assert(chunk.size() == 4 + 100 + 2);

  pid_t pid_ = -1;
  int port_ = 0;
  int steer_ = -1;
  int listener_ = -1;
  int epoll_ = -1;
  bool keepalive_ = false;
  std::vector<int> streams_;
  std::size_t next_ = 0;
  std::unordered_map<int, std::string> heads_;
};

} // namespace skep::bench
