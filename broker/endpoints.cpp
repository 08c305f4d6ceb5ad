#include "broker/endpoints.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace skep::broker {

endpoints endpoints_in(const std::string& run_dir) {
  return {run_dir + "/control.sock", run_dir + "/replay.sock", run_dir + "/events.sock"};
}

endpoints endpoints_of(const std::string& state_dir) {
  return endpoints_in(state_dir + "/run");
}

error check_socket_path(const std::string& path) {
  if (path.empty() || path.front() != '/' || path.find('\0') != std::string::npos)
    return make_error(errc::bad_argument, "a socket path must be absolute: " + path);
  if (path.size() > max_socket_path)
    return make_error(errc::bad_argument,
                      "the path of a socket may have " + std::to_string(max_socket_path)
                          + " bytes, this one has " + std::to_string(path.size())
                          + "; choose a shorter state directory: " + path);
  return {};
}

error prepare_socket_path(const std::string& path) {
  if (auto e = check_socket_path(path)) return e;
  auto failed = [&](const std::string& what) {
    return make_error(errc::io, what, std::strerror(errno));
  };
  auto dir = std::filesystem::path{path}.parent_path().string();
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return failed("making " + dir);
  struct stat st {};
  if (::lstat(dir.c_str(), &st) != 0) return failed("looking at " + dir);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid())
    return make_error(errc::io, dir + " is not a directory of this user");
  if ((st.st_mode & 0077) != 0 && ::chmod(dir.c_str(), 0700) != 0)
    return failed("closing " + dir + " to others");
  if (::lstat(path.c_str(), &st) != 0)
    return errno == ENOENT ? error{} : failed("looking at " + path);
  if (!S_ISSOCK(st.st_mode)) return make_error(errc::io, path + " exists and is not a socket");
  if (::unlink(path.c_str()) != 0) return failed("removing the old " + path);
  return {};
}

bool somebody_listens(const std::string& path) {
  if (check_socket_path(path)) return false;
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  bool listening = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0
                   || errno == EAGAIN; // the backlog is full: busy, but there
  ::close(fd);
  return listening;
}

} // namespace skep::broker
