#include "host/envd_call.hpp"

#include "host/holder_link.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

namespace skep::host {

task<result<std::string>> envd_call(asio::io_context& io, const state_dir& state, std::string id,
                                    std::string token, const char* method, const char* path,
                                    std::chrono::milliseconds limit) {
  constexpr std::size_t answer_limit_bytes = 64u << 10;
  auto connected = co_await connect_holder(io, state, id, "envd.sock", limit);
  if (!connected) co_return connected.err();
  auto& socket = *connected;
  deadline watch{socket, limit};
  auto text = std::string{method} + ' ' + path
              + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + "X-Access-Token: " + token
              + "\r\nContent-Length: 0\r\n\r\n";
  error_code ec;
  co_await asio::async_write(socket, asio::buffer(text), into(ec));
  std::string answer;
  if (!ec)
    co_await asio::async_read(socket, asio::dynamic_buffer(answer, answer_limit_bytes),
                              asio::transfer_all(), into(ec));
  if (watch.expired()) co_return make_error(errc::timed_out, "skep-envd does not answer");
  if (ec && ec != asio::error::eof) co_return make_error(errc::gone, "skep-envd", ec.message());
  auto end = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 2") || end == answer.npos)
    co_return make_error(errc::protocol, "skep-envd: " + answer.substr(0, answer.find('\r')));
  co_return answer.substr(end + 4);
}

} // namespace skep::host
