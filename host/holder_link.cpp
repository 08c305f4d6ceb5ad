#include "host/holder_link.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace skep::host {
namespace {

// What an errno says of the holder: that it has no directory or listens no more, or nothing at all.
error unreachable(const std::string& id, int code) {
  if (code == ENOENT || code == ENOTDIR || code == ECONNREFUSED)
    return make_error(errc::gone, "sandbox " + id);
  return make_error(errc::capacity, "sandbox " + id + " cannot be reached: " + errno_text(code));
}

} // namespace

task<result<local_socket>> connect_holder(asio::io_context& io, const state_dir& state,
                                          const std::string& id, std::string_view name,
                                          std::chrono::milliseconds limit) {
  unique_fd dir{::openat(state.holders.get(), id.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!dir) co_return unreachable(id, errno);
  auto path = socket_path(dir.get(), name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) co_return make_error(errc::internal, "socket path");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  // By hand: a full queue makes connect(2) on a unix socket answer EAGAIN, which Asio takes for
  // success to come. Then the only evidence of room is another try.
  constexpr std::chrono::milliseconds pause{5};
  auto until = std::chrono::steady_clock::now() + limit;
  asio::steady_timer timer{io};
  for (;;) {
    unique_fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!fd) co_return unreachable(id, errno);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      local_socket socket{io};
      error_code ec;
      socket.assign({}, fd.get(), ec);
      if (ec) co_return make_error(errc::io, "socket", ec.message());
      fd.release();
      socket.non_blocking(true, ec);
      co_return std::move(socket);
    }
    if (errno != EAGAIN && errno != EINTR) co_return unreachable(id, errno);
    if (std::chrono::steady_clock::now() >= until)
      co_return make_error(errc::timed_out, "sandbox " + id + " takes no connection");
    timer.expires_after(pause);
    error_code ec;
    co_await timer.async_wait(into(ec));
  }
}

error refusal_from(const json& j) {
  error e = make_error(errc::host_failed, j.value("message", std::string{}),
                       j.value("cause", std::string{}));
  auto name = j.value("error", std::string{});
  for (const auto& x : all_errors())
    if (x.name == name) e.code = x.code;
  return e;
}

task<result<json>> ask(local_socket& socket, const json& request, std::chrono::milliseconds limit,
                       std::string* rest) {
  deadline watch{socket, limit};
  auto line = dump(request) + "\n";
  error_code ec;
  co_await asio::async_write(socket, asio::buffer(line), into(ec));
  std::string answer;
  std::size_t size = 0;
  if (!ec)
    size = co_await asio::async_read_until(socket, asio::dynamic_buffer(answer, max_order_bytes),
                                           '\n', into(ec));
  if (watch.expired()) co_return make_error(errc::timed_out, "the holder does not answer");
  if (ec) co_return make_error(errc::gone, "the holder has ended", ec.message());
  auto j = json::parse(answer.substr(0, size), nullptr, false);
  if (!j.is_object() || !j.contains("ok"))
    co_return make_error(errc::protocol, "answer of a holder");
  if (j["ok"] != true) co_return refusal_from(j);
  if (rest) *rest = answer.substr(size);
  co_return j;
}

task<result<json>> ask_holder(asio::io_context& io, const state_dir& state, const std::string& id,
                              const json& request, std::chrono::milliseconds limit) {
  auto socket = co_await connect_holder(io, state, id, "ctl.sock", limit);
  if (!socket) co_return socket.err();
  co_return co_await ask(*socket, request, limit);
}

} // namespace skep::host
