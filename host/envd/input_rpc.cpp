// StreamInput: many envelopes up, one message down. The first one says to which process.
#include "host/envd/handlers.hpp"

#include <algorithm>
#include <array>

namespace skep::envd {

namespace {
/// The envelopes of a request's body, one after the other.
class envelope_source {
public:
  explicit envelope_source(exchange& x) : x_(x) {}
  /// The next message; nothing at the end of the body. Throws rpc_failure{invalid_argument}.
  task<std::optional<json>> next() {
    co_await fill(5);
    if (buffer_.empty()) co_return std::nullopt;
    if (buffer_.size() < 5) fail(rpc_code::invalid_argument, "the body ends within an envelope");
    std::size_t size = 0;
    for (std::size_t i = 1; i < 5; ++i)
      size = size << 8 | static_cast<unsigned char>(buffer_[i]);
    if (size > rpc_limit_bytes) fail(rpc_code::resource_exhausted, "the message is too large");
    co_await fill(5 + size);
    if (buffer_.size() < 5 + size)
      fail(rpc_code::invalid_argument, "the body ends within an envelope");
    if (buffer_[0] != 0)
      fail(rpc_code::invalid_argument, "the request's envelope has unknown flags");
    auto message = parse_message(std::string_view{buffer_}.substr(5, size));
    buffer_.erase(0, 5 + size);
    co_return message;
  }

private:
  task<void> fill(std::size_t size) {
    std::array<char, 8192> piece;
    while (buffer_.size() < size) {
      auto n = co_await x_.read_some(piece.data(), piece.size());
      if (n == 0) co_return;
      buffer_.append(piece.data(), n);
    }
  }
  exchange& x_;
  std::string buffer_;
};
} // namespace

task<json> process_stream_input(services& s, exchange& x) {
  envelope_source messages(x);
  std::shared_ptr<process> p;
  for (;;) {
    auto message = co_await messages.next();
    if (!message) break;
    if (const auto* start = find(*message, "start")) {
      const auto* selector = find(*start, "process");
      if (!selector) fail(rpc_code::invalid_argument, "the request names no process");
      p = s.processes.find(*selector, false);
    } else if (const auto* data = find(*message, "data")) {
      if (!p) fail(rpc_code::invalid_argument, "input came before the process was named");
      const auto* input = find(*data, "input");
      if (!input) fail(rpc_code::invalid_argument, "the request holds no input");
      bool to_terminal = find(*input, "pty") != nullptr;
      auto bytes = get_bytes(*input, to_terminal ? "pty" : "stdin");
      co_await p->write_input(std::move(bytes), to_terminal);
    }
  }
  co_return json::object();
}

} // namespace skep::envd
