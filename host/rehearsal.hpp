// What a driver may do to requests before the host serves them, and how a driver serves envd in
// this process. The simulator is the one that does; without a rehearsal nothing here is used.
#pragma once

#include "host/control_api.hpp"
#include "host/http.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace skep::host {

/// A request as far as it matters here.
struct request_line {
  std::string method;
  std::string path;       ///< Without the query.
  std::string sandbox_id; ///< Of a request to envd; empty: the control API.
};

/// What befalls one request. The order is that of the fields.
struct mishap {
  std::chrono::milliseconds delay{
      0};            ///< Passes first; a client that leaves meanwhile changes nothing.
  bool hang = false; ///< Never answered, nothing done; until the client leaves.
  std::optional<api_reply> instead; ///< Answered without being served.
  enum class loss : std::uint8_t { none, closed, silent };
  /// Served, then the connection closes without a word, or stays open and silent.
  loss lose_answer = loss::none;
};

class rehearsal {
public:
  virtual ~rehearsal() = default;
  /// Called once for each request of which the whole header is there.
  virtual mishap befall(const request_line& request) = 0;
  /// Answers a request to envd of a sandbox that driver::find knows; `reader` has its header. True:
  /// the connection may carry another request.
  virtual task<bool> serve_envd(std::string sandbox_id, client_connection& client,
                                request_reader& reader) = 0;
};

} // namespace skep::host
