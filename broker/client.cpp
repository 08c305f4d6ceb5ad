#include "broker/client.hpp"

#include "broker/zmq_io.hpp"
#include "messages/reading.hpp"

#include <algorithm>

namespace skep::broker {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

struct control_client::impl {
  std::string path;
  std::uint64_t next_id = 1;
  zmq::context_t context{1};
  zmq::socket_t socket;
  std::function<error()> revive; ///< Empty: an absent daemon is the caller's affair.

  void connect() {
    if (socket) return;
    socket = zmq::socket_t{context, zmq::socket_type::dealer};
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::immediate, true); // nothing is queued for a daemon that is not there
    socket.set(zmq::sockopt::reconnect_ivl, 20);
    socket.connect("ipc://" + path);
  }

  error absent(const std::string& what) const {
    return make_error(errc::no_daemon, what + " at " + path);
  }

  /// Waits for `events` until `end`; looks every now and then whether the daemon still lives.
  error wait(short events, steady::time_point end) {
    for (;;) {
      auto left = std::chrono::ceil<std::chrono::milliseconds>(end - steady::now());
      if (left <= 0ms) return make_error(errc::timed_out, "skepd did not answer");
      if (wait_ready(socket, events, std::min<std::chrono::milliseconds>(left, 250ms))) return {};
      if (auto e = listener_refused(path))
        return e.code == errc::no_daemon ? absent("skepd ended before it answered") : e;
    }
  }

  result<std::string> exchange(const std::string& frame, std::uint64_t id,
                               std::chrono::milliseconds deadline) {
    if (auto e = listener_refused(path)) return e;
    auto end = steady::now() + deadline;
    connect();
    if (auto e = wait(ZMQ_POLLOUT, end)) return e;
    if (!socket.send(zmq::buffer(frame), zmq::send_flags::dontwait))
      return make_error(errc::timed_out, "skepd takes no more requests");
    for (;;) {
      if (auto e = wait(ZMQ_POLLIN, end)) return e;
      zmq::message_t part;
      if (!receive_now(socket, part)) continue;
      auto reply = unpack<reply_frame>(part.to_string_view());
      if (!reply) return reply.err();
      // The answer to an earlier call that was given up; id 0: our frame was not understood at all.
      if (reply->id != id && reply->id != 0) continue;
      if (reply->failure) return reply->failure;
      if (reply->version != protocol_version)
        return make_error(errc::wrong_version,
                          "skepd answers with protocol " + std::to_string(reply->version)
                              + ", this program speaks " + std::to_string(protocol_version));
      return std::move(reply->body.data);
    }
  }
};

control_client::control_client(std::string socket_path) : impl_(std::make_unique<impl>()) {
  impl_->path = std::move(socket_path);
}
control_client::control_client(control_client&&) noexcept = default;
control_client& control_client::operator=(control_client&&) noexcept = default;
control_client::~control_client() = default;

void control_client::on_absent(std::function<error()> revive) {
  impl_->revive = std::move(revive);
}

result<std::string> control_client::exchange(std::uint32_t command, std::string body,
                                             std::chrono::milliseconds deadline,
                                             const std::string& key) {
  if (auto e = check_socket_path(impl_->path)) return e;
  auto id = impl_->next_id++;
  bool repeatable = !key.empty() || may_repeat(command, body);
  auto frame = pack(request_frame{protocol_version, id, key, command, {std::move(body)}});
  if (frame.size() > max_request_bytes)
    return make_error(errc::too_large, "the request has " + std::to_string(frame.size())
                                           + " bytes, " + std::to_string(max_request_bytes)
                                           + " are allowed");
  try {
    auto reply = impl_->exchange(frame, id, deadline);
    bool away =
        !reply && (reply.err().code == errc::no_daemon || reply.err().code == errc::shutting_down);
    if (!away || !impl_->revive || !repeatable) return reply;
    if (auto e = impl_->revive()) return e;
    return impl_->exchange(frame, id, deadline);
  } catch (const zmq::error_t& e) {
    return make_error(errc::io, "the control socket " + impl_->path, e.what());
  }
}

result<std::string> control_client::exchange_paced(std::uint32_t command, std::string body,
                                                   std::chrono::milliseconds deadline) {
  const auto end = steady::now() + deadline;
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(end - steady::now());
    auto reply = exchange(command, body, left);
    if (reply || reply.err().code != errc::rate) return reply;
    std::chrono::milliseconds pause{std::max<std::int64_t>(reply.err().retry_after_ms, 1)};
    // In milliseconds, never added to the clock: how long a daemon asks to wait is its own word.
    if (pause >= std::chrono::floor<std::chrono::milliseconds>(end - steady::now())) return reply;
    try {
      // Nothing is expected; the late answer to a call that was given up ends the wait early.
      wait_ready(impl_->socket, ZMQ_POLLIN, pause);
    } catch (const zmq::error_t& e) {
      return make_error(errc::io, "the control socket " + impl_->path, e.what());
    }
  }
}

} // namespace skep::broker
