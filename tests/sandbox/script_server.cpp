#include "tests/sandbox/script_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

namespace skep::sandbox {

script_server::script_server(handler on_request) : on_request_(std::move(on_request)) {
  listen_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listen_, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(listen_, 1024) != 0
      || ::getsockname(listen_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw std::runtime_error("script_server cannot listen");
  port_ = ntohs(at.sin_port);
  acceptor_ = std::thread{[this] { accept_loop(); }};
}

script_server::~script_server() {
  std::uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(stop_, &one, sizeof one);
  acceptor_.join();
  for (auto& t : threads_)
    t.join();
  ::close(listen_);
  ::close(stop_);
}

std::vector<script_server::request> script_server::requests() const {
  std::lock_guard lock{mutex_};
  return requests_;
}

bool script_server::wait(int fd, short events, int timeout_ms) {
  pollfd fds[2]{{fd, events, 0}, {stop_, POLLIN, 0}};
  for (;;) {
    int n = ::poll(fds, 2, timeout_ms);
    if (n < 0 && errno == EINTR) continue;
    return n > 0 && !fds[1].revents;
  }
}

void script_server::accept_loop() {
  while (wait(listen_, POLLIN)) {
    int fd = ::accept4(listen_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) continue;
    int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int small = 64 << 10; // so that a peer that does not read is noticed soon
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    const int number = ++connections_;
    std::lock_guard lock{mutex_};
    threads_.emplace_back([this, fd, number] { serve(fd, number); });
  }
}

bool script_server::read_request(int fd, std::string& buffer, request& out) {
  auto more = [&] {
    char piece[16384];
    if (!wait(fd, POLLIN)) return false;
    auto n = ::recv(fd, piece, sizeof piece, 0);
    if (n <= 0) return false;
    buffer.append(piece, static_cast<std::size_t>(n));
    return true;
  };
  std::size_t end;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos)
    if (!more()) return false;
  std::string head = buffer.substr(0, end + 2);
  buffer.erase(0, end + 4);
  auto line_end = head.find("\r\n");
  auto first = head.substr(0, line_end);
  auto space = first.find(' ');
  out.method = first.substr(0, space);
  out.target = first.substr(space + 1, first.rfind(' ') - space - 1);
  for (auto at = line_end + 2; at < head.size();) {
    auto stop = head.find("\r\n", at);
    auto line = head.substr(at, stop - at);
    at = stop + 2;
    auto colon = line.find(':');
    auto name = line.substr(0, colon);
    for (auto& c : name)
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    auto value = line.substr(colon + 1);
    out.headers[name] = value.substr(std::min(value.size(), value.find_first_not_of(' ')));
  }
  const std::size_t length =
      out.headers.contains("content-length") ? std::stoul(out.headers["content-length"]) : 0;
  while (buffer.size() < length)
    if (!more()) return false;
  out.body = buffer.substr(0, length);
  buffer.erase(0, length);
  return true;
}

void script_server::serve(int fd, int number) {
  std::string buffer;
  for (;;) {
    request r;
    r.connection = number;
    if (!read_request(fd, buffer, r)) break;
    {
      std::lock_guard lock{mutex_};
      requests_.push_back(r);
    }
    peer p{*this, fd};
    on_request_(p, r);
    if (p.closing()) break;
  }
  ::close(fd);
}

std::size_t script_server::peer::send_until_stalled(std::string_view bytes, int stall_ms) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    if (!server_.wait(fd_, POLLOUT, stall_ms)) break;
    auto n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) continue;
    if (n <= 0) {
      closing_ = true;
      break;
    }
    sent += static_cast<std::size_t>(n);
  }
  return sent;
}

bool script_server::peer::send(std::string_view bytes) {
  const bool whole = send_until_stalled(bytes, -1) == bytes.size();
  if (!whole) closing_ = true;
  return whole;
}

bool script_server::peer::answer(int status, std::string_view body,
                                 std::vector<std::string> headers) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " x\r\n";
  for (auto& h : headers)
    out += h + "\r\n";
  if (status != 204) out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return send(out + "\r\n" + std::string{body});
}

bool script_server::peer::begin_chunks(int status, std::vector<std::string> headers) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " x\r\nTransfer-Encoding: chunked\r\n";
  for (auto& h : headers)
    out += h + "\r\n";
  return send(out + "\r\n");
}

bool script_server::peer::chunk(std::string_view bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return send(size + std::string{bytes} + "\r\n");
}

bool script_server::peer::end_chunks() {
  return send("0\r\n\r\n");
}

bool script_server::peer::closed_within(int ms) {
  // Readable means closed: nobody sends two requests at once here.
  char byte;
  if (server_.wait(fd_, POLLIN, ms)) closing_ = ::recv(fd_, &byte, 1, 0) <= 0;
  return closing_;
}

void script_server::peer::drip(std::string_view bytes, int interval_ms) {
  for (char c : bytes)
    if (!send({&c, 1}) || closed_within(interval_ms)) break;
  wait_closed();
}

void script_server::peer::wait_closed() {
  char byte;
  while (server_.wait(fd_, POLLIN)) {
    auto n = ::recv(fd_, &byte, 1, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) break;
  }
  closing_ = true;
}

} // namespace skep::sandbox
