#include "host/gateway/forward.hpp"

#include "host/gateway/account.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <sys/socket.h>
#include <vector>

namespace skep::host::gate {

namespace {
constexpr std::size_t piece_bytes = 16U << 10;

constexpr refusal bad_answer{502, "api_error", "gateway: the upstream's answer cannot be read"};
constexpr refusal too_slow{504, "timeout_error", "gateway: the upstream did not answer in time"};

std::string_view view(beast::string_view s) {
  return {s.data(), s.size()};
}

std::string chunk_line(std::size_t size) {
  std::array<char, 20> text;
  auto n = std::snprintf(text.data(), text.size(), "%zx\r\n", size);
  return {text.data(), static_cast<std::size_t>(n)};
}

template <class Stream>
task<void> write_piece(Stream& to, std::string_view piece, bool chunked, error_code& ec) {
  auto line = chunked ? chunk_line(piece.size()) : std::string{};
  std::array<asio::const_buffer, 3> parts;
  parts[0] = asio::buffer(line);
  parts[1] = asio::buffer(piece.data(), piece.size());
  parts[2] = asio::buffer("\r\n", chunked ? 2 : 0);
  co_await asio::async_write(to, parts, into(ec));
}

// Headers that are the same on both sides of the gateway.
template <class Fields, class Skip>
void copy_headers(const Fields& fields, std::string& out, Skip skip) {
  std::string tokens;
  for (const auto& f : fields)
    if (f.name() == http::field::connection) tokens.append(view(f.value())).append(",");
  for (const auto& f : fields) {
    auto name = view(f.name_string());
    if (is_hop_by_hop(name) || in_tokens(tokens, name) || skip(name)) continue;
    out.append(name).append(": ").append(view(f.value())).append("\r\n");
  }
}

struct body_form {
  bool chunked = false;
  std::string header; ///< Content-Length or Transfer-Encoding line, or empty.
};

body_form request_body(const http::request_parser<http::buffer_body>& p) {
  if (p.chunked()) return {true, "Transfer-Encoding: chunked\r\n"};
  if (auto length = p.content_length())
    return {false, "Content-Length: " + std::to_string(*length) + "\r\n"};
  auto method = p.get().method();
  bool usual =
      method == http::verb::post || method == http::verb::put || method == http::verb::patch;
  return {false, usual ? "Content-Length: 0\r\n" : ""};
}

std::string request_header(const client& c, const route& to, const body_form& body) {
  const auto& e = to.to;
  const auto& head = c.request->get();
  std::string out{view(head.method_string())};
  out.append(" ").append(e.base_path).append(to.target).append(" HTTP/1.1\r\n");
  out.append("Host: ").append(e.host_header).append("\r\n");
  copy_headers(head, out, [&to](std::string_view name) {
    // No compression: usage is read from the answer as it passes.
    return same_name(name, "host") || same_name(name, "content-length") || same_name(name, "expect")
           || same_name(name, "accept-encoding") || is_replaced(*to.rule, name);
  });
  for (const auto& [name, value] : to.rule->headers)
    out.append(name).append(": ").append(value).append("\r\n");
  return out.append(body.header).append("Connection: close\r\n\r\n");
}

/// One forwarded request over a connected stream.
template <class Stream>
class transfer : public std::enable_shared_from_this<transfer<Stream>> {
public:
  transfer(forward_context& g, std::shared_ptr<client> c, std::shared_ptr<Stream> up,
           call_account account)
      : g_(g), client_(std::move(c)), up_(std::move(up)), account_(std::move(account)),
        idle_(g.io, g.policy.idle, [this] { give_up(); }), upload_done_(g.io), turn_(g.io),
        drain_(g.io) {
    upload_done_.expires_at(std::chrono::steady_clock::time_point::max());
  }

  task<std::optional<refusal>> run(std::string header, bool chunked) {
    auto self = this->shared_from_this();
    client_->cut_transfer = [weak = this->weak_from_this()] {
      if (auto it = weak.lock()) it->abort();
    };
    asio::co_spawn(
        g_.io,
        [self, header = std::move(header), chunked] { return self->upload(header, chunked); },
        asio::detached);
    auto failure = co_await download();
    stop_upload();
    error_code ec;
    while (uploading_)
      co_await upload_done_.async_wait(into(ec));
    account_.end(false, silent_); // whatever it was that kept the answer from its end
    client_->cut_transfer = nullptr;
    co_return failure;
  }

private:
  auto& upstream_socket() { return beast::get_lowest_layer(*up_); }

  // Both directions end with an error after this.
  void abort() {
    error_code ignored;
    upstream_socket().close(ignored);
    client_->socket.close(ignored);
    client_->keep_alive = false;
  }

  // As abort(), but a client without an answer can still be told.
  void give_up() {
    if (client_->answered) return abort();
    error_code ignored;
    upstream_socket().close(ignored);
    client_->socket.cancel(ignored);
    client_->keep_alive = false;
  }

  // Before the last of a request goes. A refused one is cut short: nothing works on half of it.
  task<void> admit(error_code& ec) {
    auto why = account_.admit();
    if (why && why->retry_after_s > 0) why = co_await wait_for_room();
    refused_ = why;
    if (!refused_) co_return;
    --g_.counts.requests; // it is not forwarded after all
    error_code ignored;
    upstream_socket().close(ignored);
    ec = asio::error::operation_aborted;
  }

  // What is reserved is seldom used: a client that were told at once to come again would do so a
  // few times within seconds, and give up, while one call alone takes longer.
  task<std::optional<refusal>> wait_for_room() {
    waiting_ = true;
    idle_.hold(true);
    account_.line_up([this] { turn_.cancel(); });
    turn_.expires_after(g_.policy.idle);
    if (!client_->socket.is_open()) abort();
    watch_client();
    std::optional<refusal> why = allowance_reserved;
    error_code ec;
    for (bool over = false; !finished_; over = !ec) {
      why = account_.admit();
      if (!why || why->retry_after_s == 0 || over) break;
      co_await turn_.async_wait(into(ec));
    }
    account_.leave_line();
    idle_.hold(false);
    waiting_ = false;
    co_return why;
  }

  task<void> upload(const std::string& header, bool chunked) {
    auto self = this->shared_from_this();
    error_code ec;
    auto& request = *client_->request;
    if (request.is_done()) co_await admit(ec);
    if (!ec) co_await asio::async_write(*up_, asio::buffer(header), into(ec));
    if (!ec && !request.is_done() && client_->expects_continue) {
      client_->expects_continue = false;
      std::string_view go = "HTTP/1.1 100 Continue\r\n\r\n";
      if (!client_->answered)
        co_await asio::async_write(client_->socket, asio::buffer(go.data(), go.size()), into(ec));
    }
    std::vector<char> piece(request.is_done() ? 0 : piece_bytes);
    while (!ec && !request.is_done()) {
      auto& body = request.get().body();
      body.data = piece.data();
      body.size = piece.size();
      co_await http::async_read_some(client_->socket, client_->buffer, request, into(ec));
      if (ec == http::error::need_buffer) ec = {};
      if (ec) { // the client broke off, and so does its request; or nobody needs the rest
        if (!finished_ && !idle_.expired()) abort();
        break;
      }
      auto n = piece.size() - body.size;
      if (n == 0) continue;
      g_.counts.bytes_in += n;
      idle_.progress();
      account_.sends({piece.data(), n});
      if (request.is_done() && !chunked) co_await admit(ec);
      if (!ec) co_await write_piece(*up_, {piece.data(), n}, chunked, ec);
    }
    if (!ec) co_await admit(ec);
    std::string_view end = "0\r\n\r\n";
    if (!ec && chunked)
      co_await asio::async_write(*up_, asio::buffer(end.data(), end.size()), into(ec));
    if (!ec) account_.sent();
    // An upstream that stopped reading may still have answered: download() decides.
    uploading_ = false;
    upload_done_.cancel();
    if (!ec) watch_client();
  }

  // Nobody reads the answer any more. What it cost stands at its end, so that a model's answer is
  // read on for a while; a long generation costs money, so that it is cut then.
  void client_is_gone() {
    if (!client_->uses_key || waiting_) return abort();
    if (std::exchange(client_gone_, true)) return;
    client_->keep_alive = false;
    drain_.expires_after(g_.policy.drain);
    drain_.async_wait([self = this->shared_from_this()](error_code ec) {
      if (!ec && !self->finished_) self->abort();
    });
  }

  void watch_client() {
    if (finished_ || !client_->socket.is_open() || std::exchange(watched_, true)) return;
    client_->socket.async_wait(
        local_socket::wait_read, [self = this->shared_from_this()](error_code ec) {
          self->watched_ = false;
          if (self->finished_) return;
          if (ec && self->waiting_) return self->abort(); // the gateway stops
          if (ec) return;
          char c = 0;
          auto n = ::recv(self->client_->socket.native_handle(), &c, 1, MSG_PEEK | MSG_DONTWAIT);
          if (n < 0 && (errno == EAGAIN || errno == EINTR)) return self->watch_client();
          if (n <= 0) self->client_is_gone();
        });
  }

  void stop_upload() {
    finished_ = true;
    drain_.cancel();
    turn_.cancel();
    error_code ignored;
    upstream_socket().close(ignored);
    client_->socket.cancel(ignored); // the watch, or an upload that was answered before its end
    if (uploading_) client_->keep_alive = false;
  }

  task<std::optional<refusal>> download() {
    error_code ec;
    beast::flat_buffer buffer;
    buffer.reserve(read_ahead_bytes);
    std::optional<http::response_parser<http::buffer_body>> answer;
    do { // 100 and 103 are the gateway's own business
      answer.emplace();
      answer->header_limit(header_limit_bytes);
      answer->body_limit(std::numeric_limits<std::uint64_t>::max());
      if (client_->request->get().method() == http::verb::head) answer->skip(true);
      co_await http::async_read_header(*up_, buffer, *answer, into(ec));
      idle_.progress();
    } while (!ec && answer->get().result_int() / 100 == 1 && answer->get().result_int() != 101);
    if (refused_) co_return refused_;
    if (ec && waiting_) co_return allowance_reserved; // the upstream did not want to wait as long
    silent_ = idle_.expired() || (ec && ec != asio::error::operation_aborted && !client_gone_);
    if (idle_.expired()) co_return too_slow;
    if (ec || answer->get().result_int() < 200) co_return bad_answer;

    bool chunked = false;
    auto header = answer_header(*answer, chunked);
    client_->answered = true;
    if (!client_gone_) co_await asio::async_write(client_->socket, asio::buffer(header), into(ec));
    if (ec && client_->uses_key) {
      client_is_gone();
      ec = {};
    }
    auto& head = answer->get();
    account_.answers(head.result_int(), view(head[http::field::content_type]),
                     head.count(http::field::content_encoding) > 0);
    std::vector<char> piece(piece_bytes);
    std::size_t drained = 0;
    while (!ec && !answer->is_done()) {
      auto& body = head.body();
      body.data = piece.data();
      body.size = piece.size();
      co_await http::async_read_some(*up_, buffer, *answer, into(ec));
      if (ec == http::error::need_buffer) ec = {};
      auto n = piece.size() - body.size;
      if (n == 0) continue;
      idle_.progress();
      g_.counts.bytes_out += n;
      account_.receives({piece.data(), n});
      // Before the client has the whole answer: its next call is measured against this one.
      if (answer->is_done()) account_.end(true);
      if (client_gone_) {
        drained += n;
        if (drained > g_.policy.drain_bytes) break;
        continue;
      }
      error_code write_ec;
      co_await write_piece(client_->socket, {piece.data(), n}, chunked, write_ec);
      if (write_ec && client_->uses_key)
        client_is_gone();
      else if (!ec)
        ec = write_ec;
    }
    if (answer->is_done()) account_.end(true);
    std::string_view end = "0\r\n\r\n";
    if (!ec && chunked && !client_gone_)
      co_await asio::async_write(client_->socket, asio::buffer(end.data(), end.size()), into(ec));
    if (ec) client_->keep_alive = false; // cut short: only closing says so
    co_return std::nullopt;
  }

  std::string answer_header(const http::response_parser<http::buffer_body>& answer, bool& chunked) {
    const auto& head = answer.get();
    auto status = head.result_int();
    bool bare =
        status == 204 || status == 304 || client_->request->get().method() == http::verb::head;
    std::string out = "HTTP/1.1 " + std::to_string(status) + ' ';
    out.append(view(head.reason())).append("\r\n");
    copy_headers(head, out,
                 [](std::string_view name) { return same_name(name, "content-length"); });
    auto length = head[http::field::content_length];
    if (bare) {
      if (!length.empty() && status != 204)
        out.append("Content-Length: ").append(view(length)).append("\r\n");
    } else if (auto size = answer.content_length(); size && !answer.chunked()) {
      out.append("Content-Length: ").append(std::to_string(*size)).append("\r\n");
    } else if (client_->request->get().version() >= 11) {
      chunked = true;
      out += "Transfer-Encoding: chunked\r\n";
    } else {
      client_->keep_alive = false;
    }
    if (!client_->keep_alive) out += "Connection: close\r\n";
    return out += "\r\n";
  }

  forward_context& g_;
  std::shared_ptr<client> client_;
  std::shared_ptr<Stream> up_;
  call_account account_;
  std::optional<refusal> refused_; ///< By admit().
  watchdog idle_;
  asio::steady_timer upload_done_;
  asio::steady_timer turn_;  ///< See wait_for_room().
  asio::steady_timer drain_; ///< See client_is_gone().
  bool client_gone_ = false;
  bool silent_ = false;  ///< The upstream ended it without a word.
  bool waiting_ = false; ///< For room.
  bool watched_ = false; ///< The client is: watch_client() is called home.
  bool uploading_ = true;
  bool finished_ = false;
};

} // namespace

bool is_sound(const http::request_parser<http::buffer_body>& request) {
  const auto& head = request.get();
  auto lengths = head.count(http::field::content_length);
  auto codings = head.count(http::field::transfer_encoding);
  if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0)) return false;
  if (codings == 1
      && (head.version() < 11 || lower(view(head[http::field::transfer_encoding])) != "chunked"))
    return false;
  auto length =
      view(head[http::field::content_length]); // "4, 4" is a list; no good client sends one
  if (length.find_first_not_of("0123456789") != std::string_view::npos) return false;
  return head.version() == 11 || head.version() == 10;
}

task<std::optional<refusal>> forward(forward_context& g, std::shared_ptr<client> c,
                                     const route& to) {
  auto body = request_body(*c->request);
  auto header = request_header(*c, to, body);
  auto where = to.to;
  auto method = c->request->get().method_string();
  call_account account(g.spend, g.counts, c->uses_key, view(method), to);
  tcp::socket socket(g.io);
  auto failure = co_await connect(g.io, where, socket, g.policy.connect);
  if (c->cut) co_return keys_revoked;
  if (failure) co_return failure;
  if (!where.tls) {
    ++g.counts.requests;
    auto plain = std::make_shared<tcp::socket>(std::move(socket));
    auto t = std::make_shared<transfer<tcp::socket>>(g, c, plain, std::move(account));
    co_return co_await t->run(std::move(header), body.chunked);
  }
  auto stream = std::make_shared<tls_stream>(std::move(socket), g.tls.get());
  failure = co_await shake_hands(g.io, *stream, where.host, g.policy.connect);
  if (c->cut) co_return keys_revoked;
  if (failure) co_return failure;
  ++g.counts.requests;
  auto t = std::make_shared<transfer<tls_stream>>(g, c, stream, std::move(account));
  co_return co_await t->run(std::move(header), body.chunked);
}

} // namespace skep::host::gate
