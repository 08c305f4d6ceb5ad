#include "host/envd_probe.hpp"

#include "host/holder_link.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

namespace skep::host {

task<result<void>> probe_envd(asio::io_context& io, const state_dir& state, std::string id,
                              std::chrono::milliseconds limit) {
  auto connected = co_await connect_holder(io, state, id, "envd.sock", limit);
  if (!connected) co_return connected.err();
  auto& socket = *connected;
  // The socket listens from the start: the answer comes when envd takes the connection, the end of
  // the connection when it never will.
  deadline watch{socket, limit};
  std::string text = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  error_code ec;
  co_await asio::async_write(socket, asio::buffer(text), into(ec));
  std::string answer;
  if (!ec)
    co_await asio::async_read_until(socket, asio::dynamic_buffer(answer, 65536), "\r\n", into(ec));
  if (watch.expired()) co_return make_error(errc::timed_out, "skep-envd did not answer in time");
  if (ec) co_return make_error(errc::host_failed, "the sandbox ended at its start");
  if (!answer.starts_with("HTTP/1.1 204"))
    co_return make_error(errc::protocol, "skep-envd: " + answer.substr(0, answer.find('\r')));
  co_return result<void>{};
}

} // namespace skep::host
