#include "host/envd/exchange.hpp"

#include "host/envd/failure.hpp"

#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <sys/socket.h>

namespace skep::envd {

namespace beast = boost::beast;
namespace http = beast::http;

namespace {
constexpr std::chrono::seconds idle_limit{640}; // as E2B's envd
constexpr std::uint32_t header_limit_bytes = 64U << 10;
constexpr std::size_t read_ahead_bytes = 16U << 10;
constexpr std::size_t discard_limit_bytes = 8U << 20;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// Sent with every answer: envd's CORS is open.
constexpr std::string_view cors = "Access-Control-Allow-Origin: *\r\n";
} // namespace

bool percent_decode(std::string_view text, bool plus, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return false;
      int high = hex_digit(text[i + 1]);
      int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high << 4 | low);
      i += 2;
    } else if (c == '+' && plus) {
      c = ' ';
    }
    if (c == '\0') return false;
    out += c;
  }
  return true;
}

struct exchange::state {
  explicit state(local_socket s) : socket(std::move(s)), idle(socket.get_executor()) {
    buffer.reserve(read_ahead_bytes);
  }
  local_socket socket;
  asio::steady_timer idle;
  beast::flat_buffer buffer;
  std::optional<http::request_parser<http::buffer_body>> parser;
  bool expects_continue = false;
  std::uint64_t watch = 0; ///< Number of the present watch; 0 when none.
  std::uint64_t watches = 0;
};

exchange::exchange(local_socket socket, std::string_view early)
    : s_(std::make_shared<state>(std::move(socket))) {
  if (early.empty()) return;
  auto room = s_->buffer.prepare(early.size());
  std::memcpy(room.data(), early.data(), early.size());
  s_->buffer.commit(early.size());
}
exchange::~exchange() = default;

task<bool> exchange::next() {
  auto& s = *s_;
  keep_alive_ = true;
  answered_ = chunked_ = head_ = false;
  s.parser.emplace();
  s.parser->header_limit(header_limit_bytes);
  s.parser->body_limit(std::numeric_limits<std::uint64_t>::max()); // in 1.74 `none` refuses all
  s.idle.expires_after(idle_limit);
  s.idle.async_wait([weak = std::weak_ptr<state>(s_)](error_code ec) {
    auto alive = weak.lock();
    if (!ec && alive) ::shutdown(alive->socket.native_handle(), SHUT_RDWR);
  });
  error_code ec;
  co_await http::async_read_header(s.socket, s.buffer, *s.parser, into(ec));
  s.idle.expires_at(clock::time_point::max()); // cancels the wait
  bool malformed = ec
                   && ec.category() == http::make_error_code(http::error::end_of_stream).category()
                   && ec != http::error::end_of_stream && ec != http::error::partial_message;
  if (ec && !malformed) co_return false;
  bool readable = false;
  if (!malformed) {
    const auto& head = s.parser->get();
    keep_alive_ = head.keep_alive();
    head_ = head.method() == http::verb::head;
    auto expect = head[http::field::expect];
    s.expects_continue = lower({expect.data(), expect.size()}) == "100-continue";
    auto whole = target();
    auto mark = whole.find('?');
    query_ = mark == std::string_view::npos ? std::string{} : std::string{whole.substr(mark + 1)};
    readable = percent_decode(whole.substr(0, mark), false, path_);
  }
  if (!readable) {
    keep_alive_ = false;
    co_await reply(400, "application/json; charset=utf-8",
                   "{\"code\":400,\"message\":\"malformed request\"}\n");
    co_return false;
  }
  co_return true;
}

std::string_view exchange::method() const {
  auto text = s_->parser->get().method_string();
  return {text.data(), text.size()};
}

std::string_view exchange::target() const {
  auto text = s_->parser->get().target();
  return {text.data(), text.size()};
}

std::string_view exchange::header(std::string_view name) const {
  const auto& fields = s_->parser->get();
  auto i = fields.find(beast::string_view{name.data(), name.size()});
  if (i == fields.end()) return {};
  return {i->value().data(), i->value().size()};
}

bool exchange::has_header(std::string_view name) const {
  return s_->parser->get().count(beast::string_view{name.data(), name.size()}) > 0;
}

std::vector<std::pair<std::string, std::string>>
exchange::headers_from(std::string_view prefix) const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& f : s_->parser->get()) {
    auto name = lower({f.name_string().data(), f.name_string().size()});
    if (name.size() > prefix.size() && name.starts_with(prefix))
      out.emplace_back(name.substr(prefix.size()), std::string{f.value()});
  }
  return out;
}

std::optional<std::string> exchange::query(std::string_view name) const {
  std::string_view rest = query_;
  while (!rest.empty()) {
    auto end = rest.find('&');
    auto pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    auto equals = pair.find('=');
    std::string key;
    std::string value;
    if (!percent_decode(pair.substr(0, equals), true, key) || key != name) continue;
    if (equals == std::string_view::npos) return std::string{};
    if (!percent_decode(pair.substr(equals + 1), true, value))
      fail(400, "query parameter '" + key + "' is malformed");
    return value;
  }
  return std::nullopt;
}

task<std::size_t> exchange::read_some(char* data, std::size_t size) {
  auto& s = *s_;
  if (s.expects_continue) {
    s.expects_continue = false;
    co_await send("HTTP/1.1 100 Continue\r\n\r\n");
  }
  while (!s.parser->is_done()) {
    auto& body = s.parser->get().body();
    body.data = data;
    body.size = size;
    error_code ec;
    co_await http::async_read_some(s.socket, s.buffer, *s.parser, into(ec));
    if (ec && ec != http::error::need_buffer) {
      keep_alive_ = false;
      throw peer_gone{};
    }
    auto got = size - body.size;
    if (got > 0) co_return got;
  }
  co_return 0;
}

task<std::string> exchange::body(std::size_t limit) {
  std::string out;
  std::array<char, 8192> piece;
  for (;;) {
    auto n = co_await read_some(piece.data(), piece.size());
    if (n == 0) co_return out;
    if (out.size() + n > limit) {
      keep_alive_ = false;
      fail(413, "the request is too large");
    }
    out.append(piece.data(), n);
  }
}

task<void> exchange::send(std::string_view bytes) {
  error_code ec;
  co_await asio::async_write(s_->socket, asio::buffer(bytes.data(), bytes.size()), into(ec));
  if (ec) {
    keep_alive_ = false;
    throw peer_gone{};
  }
}

std::string exchange::header_text(unsigned status, std::string_view content_type,
                                  std::string_view length, std::string_view extra) {
  answered_ = true;
  s_->expects_continue = false;
  auto reason = http::obsolete_reason(http::int_to_status(status));
  std::string out = "HTTP/1.1 " + std::to_string(status) + ' ';
  out.append(reason.data(), reason.size()).append("\r\n");
  if (!content_type.empty()) out.append("Content-Type: ").append(content_type).append("\r\n");
  out.append(length).append(extra).append(cors);
  if (!keep_alive_) out += "Connection: close\r\n";
  return out += "\r\n";
}

task<void> exchange::reply(unsigned status, std::string_view content_type, std::string_view body,
                           std::string_view extra) {
  bool bare = status == 204 || status == 304;
  std::string length =
      bare ? std::string{} : "Content-Length: " + std::to_string(body.size()) + "\r\n";
  auto out = header_text(status, bare ? std::string_view{} : content_type, length, extra);
  if (!bare && !head_) out += body; // one write for both: short answers arrive in one piece
  co_await send(out);
}

task<void> exchange::begin_sized(unsigned status, std::string_view content_type,
                                 std::uint64_t length, std::string_view extra) {
  std::string line = "Content-Length: " + std::to_string(length) + "\r\n";
  auto out = header_text(status, content_type, line, extra);
  co_await send(out);
}

task<void> exchange::begin_stream(unsigned status, std::string_view content_type,
                                  std::string_view extra) {
  chunked_ = s_->parser->get().version() >= 11;
  if (!chunked_) keep_alive_ = false;
  std::string_view line = chunked_ ? "Transfer-Encoding: chunked\r\n" : "";
  auto out = header_text(status, content_type, line, extra);
  co_await send(out);
}

task<void> exchange::write(std::string_view piece) {
  if (head_ || piece.empty()) co_return;
  if (!chunked_) {
    co_await send(piece);
    co_return;
  }
  std::array<char, 20> size_line;
  auto length = static_cast<std::size_t>(
      std::snprintf(size_line.data(), size_line.size(), "%zx\r\n", piece.size()));
  std::array<asio::const_buffer, 3> parts;
  parts[0] = asio::buffer(size_line.data(), length);
  parts[1] = asio::buffer(piece.data(), piece.size());
  parts[2] = asio::buffer("\r\n", 2);
  error_code ec;
  co_await asio::async_write(s_->socket, parts, into(ec));
  if (ec) {
    keep_alive_ = false;
    throw peer_gone{};
  }
}

task<void> exchange::end_stream() {
  if (chunked_ && !head_) co_await send("0\r\n\r\n");
}

task<bool> exchange::finish() {
  auto& s = *s_;
  // A client that still waits for "100 Continue" sends its body or not: the connection is of no
  // use.
  if (!keep_alive_ || s.expects_continue) co_return false;
  std::array<char, 8192> piece;
  std::size_t total = 0;
  while (!s.parser->is_done()) {
    total += co_await read_some(piece.data(), piece.size());
    if (total > discard_limit_bytes) co_return false;
  }
  co_return keep_alive_;
}

void exchange::watch_peer(std::function<void()> gone) {
  s_->watch = ++s_->watches;
  // The wait holds the state, not the exchange; a stopped watch calls nothing.
  struct waiter {
    std::shared_ptr<state> s;
    std::uint64_t watch;
    std::function<void()> gone;
    void arm() {
      auto& socket = s->socket;
      socket.async_wait(local_socket::wait_read, [self = *this](error_code ec) mutable {
        if (ec || self.s->watch != self.watch) return;
        char c = 0;
        auto n = ::recv(self.s->socket.native_handle(), &c, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return self.arm();
        if (n <= 0) self.gone();
      });
    }
  };
  waiter{s_, s_->watch, std::move(gone)}.arm();
}

void exchange::stop_watching() {
  if (s_->watch == 0) return;
  s_->watch = 0;
  error_code ec;
  s_->socket.cancel(ec);
}

task<void> exchange::begin_tunnel() {
  answered_ = true;
  co_await send("HTTP/1.1 200 Connection established\r\n\r\n");
}

local_socket exchange::release(std::string& early) {
  auto data = s_->buffer.data();
  early.assign(static_cast<const char*>(data.data()), data.size());
  s_->buffer.consume(s_->buffer.size());
  keep_alive_ = false;
  answered_ = true;
  return std::move(s_->socket);
}

} // namespace skep::envd
