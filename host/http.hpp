// Beast names of the host's HTTP side. Include in .cpp files and in relay.hpp/server.hpp only:
// heavy.
#pragma once

#include "host/async.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace skep::host {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;

/// Requests are read in pieces: header first, body as it comes.
using request_reader = http::request_parser<http::buffer_body>;

/// Instead of boost::none, which Boost 1.74 takes for "refuse every body".
inline constexpr std::uint64_t no_body_limit = ~std::uint64_t{0};

inline std::string text_of(beast::string_view x) {
  return {x.data(), x.size()};
}

/// One client's connection and what has been read from it.
struct client_connection {
  beast::tcp_stream stream;
  beast::flat_buffer buffer;
};

/// Sends "100 Continue" if the client waits for it before it sends the body.
task<void> allow_body(client_connection& client, const request_reader& reader);

} // namespace skep::host
