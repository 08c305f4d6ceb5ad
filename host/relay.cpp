#include "host/relay.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <memory>
#include <optional>
#include <sys/socket.h>

namespace skep::host {
namespace {

constexpr std::size_t piece_bytes = 64u << 10;
constexpr std::uint32_t header_limit_bytes = 64u << 10;

/// Fields that belong to one connection, not to the message.
template <class Fields>
void drop_hop_fields(Fields& fields) {
  for (auto field :
       {http::field::connection, http::field::keep_alive, http::field::proxy_connection,
        http::field::te, http::field::trailer, http::field::upgrade, http::field::transfer_encoding,
        http::field::expect, http::field::proxy_authorization})
    fields.erase(field);
}

// Reads the next piece of a message's body. Returns its size; 0 with no error: the body is
// complete.
template <class Stream, class Parser>
task<std::size_t> read_piece(Stream& stream, beast::flat_buffer& buffer, Parser& parser,
                             std::array<char, piece_bytes>& piece, error_code& ec) {
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    co_await http::async_read_some(stream, buffer, parser, into(ec));
    if (ec == http::error::need_buffer) ec = {};
    auto got = piece.size() - parser.get().body().size;
    if (ec || got > 0) co_return got;
  }
  co_return 0;
}

// Writes one piece, or the end of the body when `size` is 0.
template <class Stream, class Message, class Serializer>
task<void> write_piece(Stream& stream, Message& message, Serializer& serializer, char* data,
                       std::size_t size, error_code& ec) {
  message.body().data = size > 0 ? data : nullptr;
  message.body().size = size;
  message.body().more = size > 0;
  co_await http::async_write(stream, serializer, into(ec));
  if (ec == http::error::need_buffer) ec = {};
}

struct exchange {
  exchange(asio::io_context& io, client_connection& c, request_reader& r, local_socket s)
      : client(c), reader(r), envd(std::move(s)), sender_done(io) {}

  client_connection& client;
  request_reader& reader;
  local_socket envd;
  notifier sender_done;
  bool sending = true;
  bool answered = false; // the whole answer has been written
  bool client_gone = false;

  void cut() {
    error_code ignored;
    envd.close(ignored);
  }
};

// Client to envd; then watches the client until the answer is complete.
task<void> send_request(std::shared_ptr<exchange> x) {
  http::request<http::buffer_body> request;
  request.base() = x->reader.get().base();
  auto length = x->reader.content_length();
  bool chunked = x->reader.chunked();
  drop_hop_fields(request);
  request.version(11);
  request.keep_alive(false);
  if (chunked)
    request.chunked(true);
  else if (length)
    request.content_length(*length);
  http::request_serializer<http::buffer_body> serializer{request};
  auto piece = std::make_unique<std::array<char, piece_bytes>>();
  request.body().data = nullptr;
  request.body().size = 0;
  request.body().more = !x->reader.is_done();
  error_code read_error, write_error;
  co_await http::async_write_header(x->envd, serializer, into(write_error));
  bool body = chunked || (length && *length > 0);
  while (body && !write_error) {
    auto n = co_await read_piece(x->client.stream, x->client.buffer, x->reader, *piece, read_error);
    if (read_error) break;
    co_await write_piece(x->envd, request, serializer, piece->data(), n, write_error);
    if (n == 0) break;
  }
  if (read_error && !x->answered) {
    x->client_gone = true;
    x->cut();
  }
  // envd may have answered without reading all: then the answer is what counts, and we go on to it.
  if (!x->answered && !x->client_gone && x->client.buffer.size() == 0) {
    error_code ec;
    co_await x->client.stream.socket().async_wait(tcp::socket::wait_read, into(ec));
    char byte;
    if (!ec && !x->answered
        && ::recv(x->client.stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT)
               <= 0) {
      x->client_gone = true;
      x->cut();
    }
  }
  x->sending = false;
  x->sender_done.notify();
}

// envd to client.
task<relay_end> return_answer(std::shared_ptr<exchange> x) {
  beast::flat_buffer buffer;
  std::optional<http::response_parser<http::buffer_body>> parser;
  error_code ec;
  do {
    parser.emplace();
    parser->header_limit(header_limit_bytes);
    parser->body_limit(no_body_limit);
    if (x->reader.get().method() == http::verb::head) parser->skip(true);
    co_await http::async_read_header(x->envd, buffer, *parser, into(ec));
    if (ec) co_return x->client_gone ? relay_end::broken : relay_end::no_answer;
  } while (parser->get().result_int() / 100 == 1); // interim answers are the hop's own

  http::response<http::buffer_body> response;
  response.base() = parser->get().base();
  drop_hop_fields(response);
  auto status = response.result_int();
  bool has_body = !parser->is_done();
  bool old_client = x->reader.get().version() < 11;
  bool keep = x->reader.get().keep_alive() && !old_client;
  response.version(11);
  if (has_body && !parser->content_length()) {
    if (old_client)
      keep = false; // the end of the connection is the end of the body
    else
      response.chunked(true);
  } else if (!has_body && status != 204 && status != 304
             && x->reader.get().method() != http::verb::head) {
    response.content_length(0);
  }
  if (!x->reader.is_done()) keep = false;
  response.keep_alive(keep);
  http::response_serializer<http::buffer_body> serializer{response};
  response.body().data = nullptr;
  response.body().size = 0;
  response.body().more = has_body;
  auto& client = x->client.stream;
  co_await http::async_write_header(client, serializer, into(ec));
  if (ec) co_return relay_end::broken;
  auto piece = std::make_unique<std::array<char, piece_bytes>>();
  while (has_body) {
    auto n = co_await read_piece(x->envd, buffer, *parser, *piece, ec);
    if (ec && n == 0) co_return relay_end::broken;
    co_await write_piece(client, response, serializer, piece->data(), n, ec);
    if (ec) co_return relay_end::broken;
    if (n == 0) break;
  }
  co_return keep && x->reader.is_done() ? relay_end::reusable : relay_end::finished;
}

} // namespace

task<relay_end> relay(asio::io_context& io, client_connection& client, request_reader& reader,
                      local_socket envd) {
  client.stream.expires_never();
  auto x = std::make_shared<exchange>(io, client, reader, std::move(envd));
  if (beast::iequals(reader.get()[http::field::expect], "100-continue"))
    co_await allow_body(client, reader);
  spawn(io, send_request(x));
  auto end = co_await return_answer(x);
  // The sender uses the client's stream: it must be out before anybody else does.
  x->answered = true;
  x->cut();
  if (x->sending) {
    error_code ignored;
    client.stream.socket().cancel(ignored);
  }
  while (x->sending)
    co_await x->sender_done.wait();
  if (end == relay_end::no_answer && x->client_gone) end = relay_end::broken;
  co_return end;
}

} // namespace skep::host
