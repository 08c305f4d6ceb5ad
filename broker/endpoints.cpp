#include "broker/endpoints.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
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

namespace {

struct listener {
  bool there = false;
  std::optional<uid_t> owner; ///< None: not known, since it is too busy to take a connection.
};

/// Who accepts connections at `path`, a path that check_socket_path() allows.
listener look_at(const std::string& path) {
  listener out;
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return out;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    out.there = true;
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) out.owner = peer.uid;
  } else {
    out.there = errno == EAGAIN; // the backlog is full: busy, but there
  }
  ::close(fd);
  return out;
}

error foreign(const std::string& what, uid_t owner) {
  return make_error(errc::io, what + " belongs to the user with the id " + std::to_string(owner)
                                  + ", not to this one (" + std::to_string(::geteuid())
                                  + "): nothing was said to it");
}

/// Whether somebody else could put a socket into the directory of `path`, or another directory into
/// its place: then who listened a moment ago says nothing of who does at the next connection.
error place_refused(const std::string& path) {
  auto dir = std::filesystem::path{path}.parent_path();
  constexpr int most_links = 8;
  for (int links = 0; links < most_links; ++links) {
    struct stat st {};
    if (::lstat(dir.c_str(), &st) != 0)
      return make_error(errc::io, "looking at " + dir.string(), std::strerror(errno));
    if (st.st_uid != ::geteuid()) return foreign("the folder of " + path, st.st_uid);
    if (!S_ISLNK(st.st_mode)) {
      if ((st.st_mode & 0022) == 0) return {};
      return make_error(errc::io, "other users may write to " + dir.string()
                                      + ": nothing was said to " + path + "; `chmod 700 "
                                      + dir.string() + "` closes it");
    }
    // STATE/run may be one; where it leads to is judged as well.
    std::error_code failed;
    auto target = std::filesystem::read_symlink(dir, failed);
    if (failed) return make_error(errc::io, "reading " + dir.string(), failed.message());
    dir = dir.parent_path() / target; // an absolute one replaces it
  }
  return make_error(errc::io, dir.string() + ": too many links");
}

} // namespace

bool somebody_listens(const std::string& path) {
  return !check_socket_path(path) && look_at(path).there;
}

error listener_refused(const std::string& path) {
  if (auto e = check_socket_path(path)) return e;
  auto found = look_at(path);
  if (!found.there) return make_error(errc::no_daemon, "nobody listens at " + path);
  if (found.owner && *found.owner != ::geteuid()) return foreign(path, *found.owner);
  return place_refused(path);
}

} // namespace skep::broker
