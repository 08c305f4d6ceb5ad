// ZeroMQ sockets of the daemon's side: made with linger 0, bound 0600 below a 0700 directory, open
// to processes of this user only. Private to broker/.
#pragma once

#include "messages/error.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <zmq.h>

namespace skep::broker {

struct zmq_context_end {
  void operator()(void* x) const { ::zmq_ctx_term(x); }
};
struct zmq_socket_end {
  void operator()(void* x) const { ::zmq_close(x); }
};
/// Ends after all of its sockets: declare it before them.
using zmq_context = std::unique_ptr<void, zmq_context_end>;
using zmq_socket = std::unique_ptr<void, zmq_socket_end>;

/// One part of a message; closed with its scope.
class zmq_part {
public:
  zmq_part() { ::zmq_msg_init(&msg_); }
  zmq_part(const zmq_part&) = delete;
  zmq_part& operator=(const zmq_part&) = delete;
  ~zmq_part() { ::zmq_msg_close(&msg_); }
  /// Receives the next part without waiting; false when there is none.
  bool receive(void* socket) { return ::zmq_msg_recv(&msg_, socket, ZMQ_DONTWAIT) >= 0; }
  bool more() { return ::zmq_msg_more(&msg_) != 0; }
  std::string_view view() {
    return {static_cast<const char*>(::zmq_msg_data(&msg_)), ::zmq_msg_size(&msg_)};
  }

  /// A property of the connection it came over; nullptr when it has none of this name.
  const char* property(const char* name) { return ::zmq_msg_gets(&msg_, name); }

private:
  zmq_msg_t msg_;
};

/// The system's words for the last failed ZeroMQ call.
inline std::string zmq_reason() {
  return ::zmq_strerror(::zmq_errno());
}

inline void set_option(void* socket, int option, int value) {
  ::zmq_setsockopt(socket, option, &value, sizeof value);
}

/// A socket of `type` with linger 0; null when the context is ending.
zmq_socket make_socket(void* context, int type);

/// Binds to the unix socket `path` after prepare_socket_path(), in whose directory nobody else
/// gets, with mode 0600; peers of other users are turned away even if the modes are changed later.
/// Leaves the umask of the process alone.
error bind_private(void* socket, const std::string& path);

} // namespace skep::broker
