#include "host/port_channel.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <string>

namespace skep::host {

task<result<local_socket>> open_port(local_socket envd, unsigned port,
                                     std::chrono::milliseconds limit) {
  constexpr std::size_t header_limit_bytes = 8192;
  deadline watch{envd, limit};
  auto target = "127.0.0.1:" + std::to_string(port);
  auto text = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n";
  error_code ec;
  co_await asio::async_write(envd, asio::buffer(text), into(ec));
  // Byte by byte, so that nothing of what the port says first is taken: the header is short.
  std::string header;
  while (!ec && !header.ends_with("\r\n\r\n") && header.size() < header_limit_bytes) {
    char c = 0;
    co_await asio::async_read(envd, asio::buffer(&c, 1), into(ec));
    if (!ec) header += c;
  }
  if (watch.expired()) co_return make_error(errc::timed_out, "the sandbox is busy");
  if (ec) co_return make_error(errc::gone, "the sandbox", ec.message());
  if (!header.starts_with("HTTP/1.1 200"))
    co_return make_error(errc::refused, header.substr(0, header.find('\r')));
  co_return std::move(envd);
}

} // namespace skep::host
