// Waiting and reading that a signal may interrupt: an interruption is "nothing yet", not an error.
// Private to the client library.
#pragma once

#include "messages/error.hpp"

#include <algorithm>
#include <chrono>
#include <zmq.hpp>

namespace skep::broker {

/// What the caller of a stream is told when its socket fails.
inline error zmq_failed(const zmq::error_t& e) {
  return make_error(errc::io, "the event socket", e.what());
}

/// Waits for `events`; true when one of them is there.
inline bool wait_ready(zmq::socket_t& socket, short events, std::chrono::milliseconds limit) {
  zmq_pollitem_t item{socket.handle(), 0, events, 0};
  auto n = ::zmq_poll(&item, 1, std::max<long>(0, static_cast<long>(limit.count())));
  if (n < 0 && ::zmq_errno() != EINTR) throw zmq::error_t();
  return n > 0 && (item.revents & events) != 0;
}

/// Receives one part without waiting; false when there is none.
inline bool receive_now(zmq::socket_t& socket, zmq::message_t& part) {
  if (::zmq_msg_recv(part.handle(), socket.handle(), ZMQ_DONTWAIT) >= 0) return true;
  if (::zmq_errno() != EAGAIN && ::zmq_errno() != EINTR) throw zmq::error_t();
  return false;
}

} // namespace skep::broker
