// One HTTP/1.1 request and its answer on a connection: header parsed by Beast, body and answer
// streamed. A connection serves one exchange after another.
#pragma once

#include "host/envd/async.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skep::envd {

/// Decodes %XX, and `+` as a space when `plus` is set. False on a broken escape or a NUL.
bool percent_decode(std::string_view text, bool plus, std::string& out);

/// The answer to a browser that asks before it sends: any page may.
inline constexpr std::string_view preflight_headers =
    "Access-Control-Allow-Methods: HEAD, GET, POST, PUT, PATCH, DELETE\r\n"
    "Access-Control-Allow-Headers: *\r\nAccess-Control-Max-Age: 7200\r\n";

class exchange {
public:
  /// `early`: bytes that were read from the connection already.
  explicit exchange(local_socket socket, std::string_view early = {});
  ~exchange();
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;

  /// Reads the next request's header. False: the client is done, silent for too long, or sent
  /// something that is no HTTP (which has been answered with 400); close the connection.
  task<bool> next();

  std::string_view method() const;
  /// Decoded path, without the query.
  const std::string& path() const { return path_; }
  /// Target as sent (for CONNECT: host:port).
  std::string_view target() const;
  /// Value of a header, or empty. Names are case-insensitive.
  std::string_view header(std::string_view name) const;
  bool has_header(std::string_view name) const;
  /// All headers whose name starts with `prefix` (lower case): name without it, lower-cased, and
  /// value.
  std::vector<std::pair<std::string, std::string>> headers_from(std::string_view prefix) const;
  /// Decoded value of a query parameter.
  std::optional<std::string> query(std::string_view name) const;

  /// Next bytes of the body, at most `size`; 0 at its end. Throws peer_gone.
  task<std::size_t> read_some(char* data, std::size_t size);
  /// The whole body. Throws rest_failure{413} when it is longer than `limit` bytes.
  task<std::string> body(std::size_t limit);

  /// Answers with a body (none for 204 and 304). `extra` are whole header lines, each with CRLF.
  task<void> reply(unsigned status, std::string_view content_type, std::string_view body,
                   std::string_view extra = {});
  /// Answers with a body of `length` bytes that follow by write().
  task<void> begin_sized(unsigned status, std::string_view content_type, std::uint64_t length,
                         std::string_view extra = {});
  /// Answers with a body of unknown length: write() its pieces, then end_stream().
  task<void> begin_stream(unsigned status, std::string_view content_type,
                          std::string_view extra = {});
  /// Sends one piece at once. Throws peer_gone.
  task<void> write(std::string_view piece);
  task<void> end_stream();
  /// True once an answer has been begun.
  bool answered() const { return answered_; }
  /// Close after this answer.
  void close_after() { keep_alive_ = false; }

  /// Ends the request: reads what is left of a small body. False: close the connection.
  task<bool> finish();

  /// Calls `gone` (once, from the io_context) when the client closes its side during an answer.
  void watch_peer(std::function<void()> gone);
  void stop_watching();

  /// Answers a CONNECT with 200; release() follows.
  task<void> begin_tunnel();
  /// Gives the socket away (for CONNECT); bytes already read are put in `early`.
  local_socket release(std::string& early);

private:
  std::string header_text(unsigned status, std::string_view content_type, std::string_view length,
                          std::string_view extra);
  task<void> send(std::string_view bytes);

  struct state;
  std::shared_ptr<state> s_;
  std::string path_;
  std::string query_;
  bool keep_alive_ = true;
  bool answered_ = false;
  bool chunked_ = false;
  bool head_ = false;
};

} // namespace skep::envd
