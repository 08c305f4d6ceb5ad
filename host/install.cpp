#include "host/install.hpp"

#include "host/cgroups.hpp"
#include "host/isolation.hpp"

#include "host/posix.hpp"
#include "host/privileges.hpp"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::host {
namespace {

std::string absolute(const std::string& path) {
  char text[PATH_MAX];
  return ::realpath(path.c_str(), text) ? text : std::string{};
}

result<std::string> own_program() {
  char text[PATH_MAX];
  auto n = ::readlink("/proc/self/exe", text, sizeof text);
  if (n <= 0) return system_error("readlink /proc/self/exe");
  return std::string{text, static_cast<std::size_t>(n)};
}

result<void> copy_program(const std::string& from, const std::string& to) {
  unique_fd in{::open(from.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!in) return system_error("open " + from);
  auto temporary = to + ".new";
  ::unlink(temporary.c_str());
  unique_fd out{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700)};
  if (!out) return system_error("create " + temporary);
  struct stat info {};
  if (::fstat(in.get(), &info) != 0) return system_error("stat " + from);
  for (auto left = info.st_size; left > 0;) {
    auto n = ::sendfile(out.get(), in.get(), nullptr, static_cast<std::size_t>(left));
    if (n <= 0) return system_error("copy " + from);
    left -= n;
  }
  if (::fchmod(out.get(), 0755) != 0) return system_error("chmod " + temporary);
  out.reset();
  if (::rename(temporary.c_str(), to.c_str()) != 0) return system_error("rename " + to);
  return {};
}

// As root: the directory becomes the service user's, but bin/ and its programs stay root's.
result<void> hand_over(host_place& place, service_account account) {
  const auto& state = place.state_path;
  unique_fd dir{::open(state.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (!dir) return system_error("open " + state);
  struct stat info {};
  if (::fstat(dir.get(), &info) != 0) return system_error("stat " + state);
  if (info.st_uid != 0 && info.st_uid != account.uid)
    return make_error(errc::bad_argument, state + " belongs to another user");
  // Only an empty directory or one that was handed over before: never a system directory named by
  // mistake.
  struct stat before {};
  bool known = info.st_uid == account.uid
               || ::fstatat(dir.get(), "holders", &before, AT_SYMLINK_NOFOLLOW) == 0;
  if (!known && ::unlinkat(AT_FDCWD, state.c_str(), AT_REMOVEDIR) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) return system_error("use " + state);
    return make_error(errc::bad_argument,
                      state + " is not empty and no state directory of skep-host");
  }
  if (!known) {
    if (::mkdir(state.c_str(), 0700) != 0) return system_error("mkdir " + state);
    dir.reset(::open(state.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir) return system_error("open " + state);
  }
  if (::fchown(dir.get(), account.uid, account.gid) != 0 || ::fchmod(dir.get(), 0700) != 0)
    return system_error("hand over " + state);
  auto bin = state + "/bin";
  // The service user owns the parent and might have put a link there.
  if (::mkdirat(dir.get(), "bin", 0755) != 0 && errno != EEXIST)
    return system_error("mkdir " + bin);
  unique_fd bin_dir{::openat(dir.get(), "bin", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (!bin_dir) return system_error("open " + bin);
  if (::fchown(bin_dir.get(), 0, 0) != 0 || ::fchmod(bin_dir.get(), 0755) != 0)
    return system_error("chown " + bin);
  auto base = "/proc/self/fd/" + std::to_string(bin_dir.get());
  if (auto r = copy_program(place.holder_program, base + "/skep-host"); !r) return r;
  if (auto r = copy_program(place.envd_program, base + "/skep-envd"); !r) return r;
  place.holder_program = bin + "/skep-host";
  place.envd_program = bin + "/skep-envd";
  return {};
}

} // namespace

result<host_place> settle(const host_options& options) {
  host_place place;
  if (options.state_path.empty()) return make_error(errc::bad_argument, "give --state DIR");
  bool root = ::geteuid() == 0 || ::getuid() == 0;
  service_account account;
  if (root) {
    auto found = find_service_user(options.service_user);
    if (!found) return found.err(); // before anything is made
    account = *found;
  }
  auto self = own_program();
  if (!self) return self.err();
  place.holder_program = *self;
  place.envd_program = options.envd_path.empty() ? self->substr(0, self->rfind('/')) + "/skep-envd"
                                                 : options.envd_path;
  place.envd_program = absolute(place.envd_program);
  if (place.envd_program.empty() || ::access(place.envd_program.c_str(), X_OK) != 0)
    return make_error(errc::program_missing, "skep-envd (expected beside " + *self + ")");
  if (::mkdir(options.state_path.c_str(), 0700) != 0 && errno != EEXIST)
    return system_error("mkdir " + options.state_path);
  place.state_path = absolute(options.state_path);
  if (place.state_path.empty()) return system_error("state directory " + options.state_path);
  for (const auto& path : options.binds) {
    if (auto e = bind_refused(path, place.state_path)) {
      e.message = "--bind " + e.message;
      return e;
    }
    place.binds.push_back(path);
  }
  if (root) {
    if (auto r = hand_over(place, account); !r) return r.err();
    place.cgroups = delegate_cgroups(account.uid, account.gid);
    if (auto r = drop_to(account); !r) return r.err();
    harden_process(); // changing ids reset some of it
  } else {
    place.cgroups = delegate_cgroups(::getuid(), ::getgid());
  }
  auto need = [&](const std::string& path, int mode) -> result<void> {
    if (::access(path.c_str(), mode) == 0) return {};
    auto reason = errno_text(errno);
    return make_error(errc::no_isolation,
                      path + " cannot be reached by the user that sandboxes run as"
                          + (root ? " (" + options.service_user + ")" : std::string{})
                          + "; choose a state directory outside of private homes",
                      reason);
  };
  if (auto r = need(place.state_path, R_OK | W_OK | X_OK); !r) return r.err();
  if (auto r = need(place.holder_program, X_OK); !r) return r.err();
  if (auto r = need(place.envd_program, R_OK | X_OK); !r) return r.err();
  for (const auto& path : place.binds)
    if (auto r = need(path, R_OK); !r) return r.err();
  return place;
}

} // namespace skep::host
