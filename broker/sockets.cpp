#include "broker/sockets.hpp"

#include "broker/endpoints.hpp"

#include <mutex>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::broker {

zmq_socket make_socket(void* context, int type) {
  zmq_socket out{::zmq_socket(context, type)};
  if (out) set_option(out.get(), ZMQ_LINGER, 0);
  return out;
}

error bind_private(void* socket, const std::string& path) {
  if (auto e = prepare_socket_path(path)) return e;
  auto uid = ::geteuid();
  ::zmq_setsockopt(socket, ZMQ_IPC_FILTER_UID, &uid, sizeof uid);
  // The umask belongs to the whole process: binds of several threads take turns.
  static std::mutex binding;
  std::lock_guard guard{binding};
  auto old_mask = ::umask(0177);
  auto failed = ::zmq_bind(socket, ("ipc://" + path).c_str()) != 0;
  auto reason = failed ? zmq_reason() : std::string{};
  ::umask(old_mask);
  if (failed) return make_error(errc::io, "binding " + path, reason);
  return {};
}

} // namespace skep::broker
