#include "broker/sockets.hpp"

#include "broker/endpoints.hpp"

#include <cerrno>
#include <cstring>
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
  if (::zmq_bind(socket, ("ipc://" + path).c_str()) != 0)
    return make_error(errc::io, "binding " + path, zmq_reason());
  // By its own mode and not by the umask, which is that of the whole process: a folder that another
  // thread makes meanwhile could not be entered. Until now the directory kept others out, and
  // zmq_bind() has made the file when it returns.
  if (::chmod(path.c_str(), 0600) != 0)
    return make_error(errc::io, "closing " + path + " to others", std::strerror(errno));
  return {};
}

} // namespace skep::broker
