// A blocking HTTP/1.1 peer on a raw socket, for tests that look at bytes. Every wait has a
// deadline, after which it throws.
#pragma once

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

namespace skep::test {

inline constexpr int patience_ms = 15'000;

[[noreturn]] inline void give_up(const std::string& what) {
  throw std::runtime_error(what);
}

inline void await_fd(int fd, short events) {
  pollfd p{fd, events, 0};
  int n = 0;
  while ((n = ::poll(&p, 1, patience_ms)) < 0 && errno == EINTR) {
  }
  if (n <= 0) give_up("nothing happened in time");
}

inline std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

struct answer {
  int status = 0;
  std::string first_line;
  std::map<std::string, std::string> headers; ///< Names in lower case.
  std::string body;
  bool has(const std::string& name) const { return headers.contains(name); }
};

/// A connected stream socket.
class raw_connection {
public:
  explicit raw_connection(int fd) : fd_(fd) {}
  raw_connection(raw_connection&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)), left_(other.left_),
        chunked_(other.chunked_) {}
  raw_connection& operator=(raw_connection&&) = delete;
  ~raw_connection() { close(); }

  static raw_connection to_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::close(fd);
      give_up("cannot connect to " + path);
    }
    return raw_connection(fd);
  }
  static raw_connection to_port(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::close(fd);
      give_up("cannot connect to port " + std::to_string(port));
    }
    return raw_connection(fd);
  }

  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  int fd() const { return fd_; }

  /// False: the peer closed.
  bool try_send(std::string_view bytes) {
    while (!bytes.empty()) {
      await_fd(fd_, POLLOUT);
      auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void send(std::string_view bytes) {
    if (!try_send(bytes)) give_up("the peer closed while we sent");
  }

  /// Adds what arrives to the buffer; false at the end of the stream.
  bool receive(std::size_t at_most = 65536) {
    await_fd(fd_, POLLIN);
    std::string piece(at_most, '\0');
    auto n = ::recv(fd_, piece.data(), piece.size(), 0);
    if (n <= 0) return false;
    buffer_.append(piece, 0, static_cast<std::size_t>(n));
    return true;
  }
  bool at_end() { return buffer_.empty() && !receive(); }
  /// What still comes up to the end; gives up where no end comes.
  std::string rest() {
    while (receive()) {
    }
    return std::exchange(buffer_, {});
  }
  std::string take(std::size_t size) {
    while (buffer_.size() < size)
      if (!receive()) give_up("the peer closed early");
    auto out = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return out;
  }
  std::string take_through(std::string_view mark) {
    std::size_t at = 0;
    while ((at = buffer_.find(mark)) == std::string::npos)
      if (!receive()) give_up("the peer closed early");
    return take(at + mark.size());
  }

  /// Reads a header (of a request or an answer); body pieces follow by next_piece().
  answer read_header() {
    answer out;
    auto head = take_through("\r\n\r\n");
    auto end = head.find("\r\n");
    out.first_line = head.substr(0, end);
    if (out.first_line.starts_with("HTTP/1.1 ")) out.status = std::stoi(out.first_line.substr(9));
    for (auto at = end + 2; at + 2 < head.size();) {
      auto line_end = head.find("\r\n", at);
      auto line = head.substr(at, line_end - at);
      auto colon = line.find(':');
      auto value = line.find_first_not_of(' ', colon + 1);
      out.headers[lower(line.substr(0, colon))] =
          value == std::string::npos ? std::string{} : line.substr(value);
      at = line_end + 2;
    }
    chunked_ = out.has("transfer-encoding");
    left_ = out.has("content-length") ? std::stoull(out.headers["content-length"]) : 0;
    return out;
  }

  /// Next piece of the body: one chunk, or what is there of a sized body; nothing at its end.
  std::optional<std::string> next_piece() {
    if (chunked_) {
      auto size = std::stoull(take_through("\r\n"), nullptr, 16);
      auto piece = take(size);
      if (take(2) != "\r\n") give_up("a chunk has no end");
      if (size > 0) return piece;
      chunked_ = false;
      left_ = 0;
      return std::nullopt;
    }
    if (left_ == 0) return std::nullopt;
    if (buffer_.empty() && !receive()) give_up("the peer closed early");
    auto piece = take(std::min<std::uint64_t>(left_, buffer_.size()));
    left_ -= piece.size();
    return piece;
  }

  answer read_answer(bool without_body = false) {
    auto out = read_header();
    while (!without_body)
      if (auto piece = next_piece())
        out.body += *piece;
      else
        break;
    return out;
  }

private:
  int fd_;
  std::string buffer_;
  std::uint64_t left_ = 0;
  bool chunked_ = false;
};

/// A listening socket on an ephemeral loopback port.
class tcp_listener {
public:
  tcp_listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd_, 16) != 0
        || ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      give_up("cannot listen");
    port_ = ntohs(address.sin_port);
  }
  ~tcp_listener() { ::close(fd_); }
  tcp_listener(const tcp_listener&) = delete;
  tcp_listener& operator=(const tcp_listener&) = delete;
  int port() const { return port_; }
  raw_connection accept() {
    await_fd(fd_, POLLIN);
    return raw_connection(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
  }

private:
  int fd_;
  int port_ = 0;
};

/// A listening unix socket.
inline int listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0
      || ::listen(fd, 128) != 0)
    give_up("cannot listen at " + path);
  return fd;
}

/// A directory of its own, removed at the end.
class temp_dir {
public:
  temp_dir() {
    std::string pattern = "/tmp/skep-test.XXXXXX";
    if (!::mkdtemp(pattern.data())) give_up("mkdtemp");
    path_ = pattern;
  }
  ~temp_dir() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  temp_dir(const temp_dir&) = delete;
  temp_dir& operator=(const temp_dir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + '/' + name; }

private:
  std::string path_;
};

} // namespace skep::test
