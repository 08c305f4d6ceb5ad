// One request to envd and its answer, both passed on as they come: every piece that arrives on one
// side is written to the other at once, and no more is read until it is written (so back-pressure
// reaches the far end). Nothing is kept. The framing (length or chunks) is made anew on each side.
#pragma once

#include "host/http.hpp"

namespace skep::host {

enum class relay_end : std::uint8_t {
  reusable, ///< The client's connection may carry another request.
  finished, ///< The answer is whole, but the connection must be closed.
  broken,   ///< Somebody went away in the middle: close.
  no_answer ///< The sandbox went away before it answered anything: nothing was written to the
            ///< client.
};

/// Relays the request whose header `reader` holds. When the client goes away, the connection to
/// envd is closed at once, so that envd notices; when the sandbox ends, the answer ends without its
/// last chunk.
task<relay_end> relay(asio::io_context& io, client_connection& client, request_reader& reader,
                      local_socket envd);

} // namespace skep::host
