#include "guest/reach.hpp"

#include "transfer/posix.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace skep::guest {
namespace {

using transfer::unique_fd;

constexpr std::size_t max_answer = 16 * 1024;
constexpr std::size_t max_token = 512;

error wrong(std::string_view text) {
  return make_error(errc::bad_argument, "no target: " + std::string{text});
}

/// An address of either kind as connect(2) wants it; length 0: it is none.
struct socket_address {
  sockaddr_storage data{};
  socklen_t length = 0;
};

socket_address address_of(const std::string& text, std::uint16_t port) {
  socket_address out;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&out.data, &v4, out.length = sizeof v4);
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&out.data, &v6, out.length = sizeof v6);
  }
  return out;
}

result<reach_target> parse_place(std::string_view whole, std::string_view place) {
  reach_target out;
  out.name = whole;
  auto at = place.find('@');
  if (at == place.npos) return wrong(whole);
  out.address = place.substr(0, at);
  auto port = place.substr(at + 1);
  auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (ec != std::errc{} || end != port.data() + port.size() || out.port == 0) return wrong(whole);
  if (address_of(out.address, out.port).length == 0) return wrong(whole);
  return out;
}

bool is_visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// ---- what is said ---------------------------------------------------------------------------

std::string http_request(std::string_view method, const reach_target& to, std::string_view path,
                         std::string_view headers) {
  bool v6 = to.address.find(':') != std::string::npos;
  std::string out{method};
  out.append(" ").append(path).append(" HTTP/1.0\r\nHost: ");
  out += v6 ? "[" + to.address + "]" : to.address;
  out.append("\r\nConnection: close\r\n").append(headers).append("\r\n");
  return out;
}

/// Google's and Azure's services want to be asked by these words; EC2's and its kin take any.
std::string get_request(const reach_target& to, const std::string& token) {
  std::string headers = "Metadata-Flavor: Google\r\nMetadata: true\r\n";
  if (!token.empty())
    headers += "X-aws-ec2-metadata-token: " + token + "\r\nX-metadata-token: " + token + "\r\n";
  return http_request("GET", to, to.path, headers);
}

std::string token_request(const reach_target& to) {
  return http_request("PUT", to, "/latest/api/token",
                      "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n"
                      "X-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n");
}

void append_u16(std::string& out, std::size_t n) {
  out += static_cast<char>(n >> 8);
  out += static_cast<char>(n & 0xff);
}

std::string with_length(const std::string& what) {
  std::string out;
  append_u16(out, what.size());
  return out + what;
}

/// A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2) without a server's name. It only asks for a
/// ServerHello, and nobody goes on from there, so its random value need not be random.
std::string client_hello() {
  using namespace std::string_literals;
  auto extension = [](const std::string& type, const std::string& data) {
    return type + with_length(data);
  };
  auto body =
      "\x03\x03"s + std::string(32, 's') + "\0"s                 // version, random, no session
      + with_length("\xc0\x2b\xc0\x2f\xc0\x2c\xc0\x30\x00\x9c"s) // ECDHE, AES-GCM
      + "\x01\x00"s                                              // no compression
      + with_length(extension("\x00\x0a"s, with_length("\x00\x1d\x00\x17"s)) // groups
                    + extension("\x00\x0b"s, "\x01\x00"s)                    // points
                    + extension("\x00\x0d"s, with_length("\x04\x03\x08\x04\x04\x01\x05\x01"s)));
  auto handshake = "\x01\x00"s + with_length(body);
  return "\x16\x03\x01"s + with_length(handshake);
}

// ---- what comes back ------------------------------------------------------------------------

/// The status of an answer that begins as one of HTTP does; 0: it does not, or not yet.
int status_of(std::string_view got) {
  if (got.size() < 12 || !got.starts_with("HTTP/1.") || got[8] != ' ') return 0;
  int out = 0;
  auto [end, ec] = std::from_chars(got.data() + 9, got.data() + 12, out);
  return ec == std::errc{} && end == got.data() + 12 && out >= 100 ? out : 0;
}

/// The body of an answer that is whole by its Content-Length; empty: not yet, or none.
std::string body_of(std::string_view got, bool ended) {
  auto head_end = got.find("\r\n\r\n");
  if (head_end == got.npos) return {};
  auto body = got.substr(head_end + 4);
  if (ended) return std::string{body};
  std::string head{got.substr(0, head_end + 2)};
  std::transform(head.begin(), head.end(), head.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  constexpr std::string_view word = "\r\ncontent-length:";
  auto at = head.find(word);
  if (at == head.npos) return {};
  auto length = std::strtoull(head.c_str() + at + word.size(), nullptr, 10);
  return body.size() >= length ? std::string{body.substr(0, length)} : std::string{};
}

/// A server's hello: a record of a handshake with message 2. An alert proves nothing: egress
/// proxies send one themselves when they refuse.
bool is_server_hello(std::string_view got) {
  return got.size() >= 6 && got[0] == 0x16 && got[5] == 0x02;
}

/// Errors of making a socket or a connection that tell of this process, not of the network. Not
/// EINVAL: it is what a blackhole route answers.
bool is_our_fault(int number) {
  return number == EMFILE || number == ENFILE || number == ENOMEM || number == ENOBUFS
         || number == EBADF || number == EFAULT || number == ENOTSOCK;
}

// ---- one target -----------------------------------------------------------------------------

/// A connection, or for HTTP with a token three of them, one after the other. Driven by poll.
class visit {
public:
  explicit visit(const reach_target& target) : target_(target) { answer_.name = target.name; }

  result<void> begin() {
    return connect_with(target_.path.empty() ? client_hello() : get_request(target_, {}));
  }
  bool over() const { return !fd_; }
  pollfd wanted() const {
    auto events = static_cast<short>(stage_ == stage::reading ? POLLIN : POLLOUT);
    return {fd_.get(), events, 0};
  }
  const reach_answer& answer() const { return answer_; }

  /// Something happened at its descriptor.
  result<void> go_on() {
    if (stage_ == stage::connecting) {
      int number = 0;
      socklen_t size = sizeof number;
      ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &number, &size);
      if (number != 0) return not_connected(number);
      better(reach::connected);
      stage_ = stage::sending;
    }
    if (stage_ == stage::sending) return send_some();
    return read_some();
  }

private:
  enum class stage : std::uint8_t { connecting, sending, reading };
  enum class turn : std::uint8_t { first, for_token, with_token };

  void better(reach state) { answer_.state = std::max(answer_.state, state); }

  result<void> connect_with(std::string request) {
    to_send_ = std::move(request);
    got_.clear();
    stage_ = stage::connecting;
    auto to = address_of(target_.address, target_.port);
    fd_.reset(::socket(to.data.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd_) return not_connected(errno);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to.data), to.length) == 0)
      return {};
    if (errno == EINPROGRESS || errno == EINTR) return {};
    return not_connected(errno);
  }

  result<void> not_connected(int number) {
    fd_.reset();
    if (is_our_fault(number)) return transfer::io_error("a connection to " + target_.name, number);
    if (turn_ == turn::first) answer_.state = reach_of(number);
    return {};
  }

  result<void> send_some() {
    auto n = ::send(fd_.get(), to_send_.data(), to_send_.size(), MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (n < 0) return finish();
    to_send_.erase(0, static_cast<std::size_t>(n));
    if (to_send_.empty()) stage_ = stage::reading;
    return {};
  }

  result<void> read_some() {
    std::array<char, 4096> buffer{};
    auto n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (n > 0) got_.append(buffer.data(), static_cast<std::size_t>(n));
    bool ended = n <= 0 || got_.size() >= max_answer;
    if (ended || enough()) return finish(ended);
    return {};
  }

  bool enough() const {
    if (target_.path.empty()) return got_.size() >= 6;
    return turn_ == turn::for_token ? !body_of(got_, false).empty() : status_of(got_) != 0;
  }

  result<void> finish(bool ended = true) {
    fd_.reset();
    if (target_.path.empty()) {
      if (is_server_hello(got_)) better(reach::answered);
      return {};
    }
    auto status = status_of(got_);
    if (turn_ == turn::for_token) {
      auto token = body_of(got_, ended);
      if (status != 200 || token.empty() || token.size() > max_token || !is_visible(token))
        return {};
      turn_ = turn::with_token;
      return connect_with(get_request(target_, token));
    }
    if (status == 0) return {};
    better(reach::answered);
    if (turn_ == turn::first || status == 200) answer_.status = status;
    if (turn_ == turn::with_token || status != 401) return {};
    turn_ = turn::for_token;
    return connect_with(token_request(target_));
  }

  const reach_target& target_;
  reach_answer answer_;
  unique_fd fd_;
  stage stage_ = stage::connecting;
  turn turn_ = turn::first;
  std::string to_send_, got_;
};

} // namespace

result<reach_target> parse_http_target(std::string_view text) {
  auto slash = text.find('/');
  if (slash == text.npos || !is_visible(text)) return wrong(text);
  auto out = parse_place(text, text.substr(0, slash));
  if (out) out->path = text.substr(slash);
  return out;
}

result<reach_target> parse_tls_target(std::string_view text) {
  return parse_place(text, text);
}

std::string_view reach_name(reach x) {
  constexpr std::array<std::string_view, 5> names = {"unreachable", "refused", "no_answer",
                                                     "connected", "answered"};
  return names.at(static_cast<std::size_t>(x));
}

reach reach_of(int number) {
  if (number == ECONNREFUSED || number == ECONNRESET) return reach::refused;
  if (number == ETIMEDOUT) return reach::no_answer;
  return reach::unreachable; // ENETUNREACH, EHOSTUNREACH, EACCES, EPERM, EAFNOSUPPORT, ...
}

result<std::vector<reach_answer>> try_to_reach(const std::vector<reach_target>& targets,
                                               std::chrono::milliseconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  std::vector<visit> all;
  all.reserve(targets.size());
  for (const auto& target : targets) {
    all.emplace_back(target);
    if (auto r = all.back().begin(); !r) return r.err();
  }
  for (;;) {
    std::vector<pollfd> wanted;
    std::vector<visit*> whose;
    for (auto& one : all)
      if (!one.over()) {
        wanted.push_back(one.wanted());
        whose.push_back(&one);
      }
    auto left = transfer::ms_until(deadline);
    if (wanted.empty() || left <= 0) break;
    auto n = ::poll(wanted.data(), wanted.size(), left);
    if (n < 0 && errno != EINTR) return transfer::io_error("poll", errno);
    for (std::size_t i = 0; n > 0 && i < wanted.size(); ++i)
      if (wanted[i].revents != 0)
        if (auto r = whose[i]->go_on(); !r) return r.err();
  }
  std::vector<reach_answer> out;
  out.reserve(all.size());
  for (const auto& one : all)
    out.push_back(one.answer());
  return out;
}

json reach_json(const std::vector<reach_answer>& answers) {
  auto list = json::array();
  for (const auto& x : answers) {
    json one = {{"target", x.name}, {"state", std::string{reach_name(x.state)}}};
    if (x.status != 0) one["status"] = x.status;
    list.push_back(std::move(one));
  }
  return json{{"targets", std::move(list)}};
}

} // namespace skep::guest
