#include "host/isolation.hpp"

#include "host/posix.hpp"

#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::host {
namespace {

constexpr std::chrono::milliseconds probe_deadline{10'000};

std::string first_line_of(const char* path) {
  auto text = read_file(path, 4096);
  return text ? text->substr(0, text->find('\n')) : std::string{};
}

// What usually forbids user namespaces, with the setting that does.
std::string likely_reason() {
  if (first_line_of("/proc/sys/kernel/unprivileged_userns_clone") == "0")
    return "unprivileged user namespaces are switched off "
           "(sysctl kernel.unprivileged_userns_clone=1 allows them)";
  if (first_line_of("/proc/sys/user/max_user_namespaces") == "0")
    return "user namespaces are switched off: sysctl user.max_user_namespaces is 0 "
           "(sysctl -w user.max_user_namespaces=15000 allows them)";
  if (first_line_of("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
    return "AppArmor restricts user namespaces (give bwrap a profile, or sysctl "
           "kernel.apparmor_restrict_unprivileged_userns=0)";
  return "bubblewrap cannot make a sandbox here (a container or policy may forbid user namespaces)";
}

bool inside(const std::string& path, const std::string& folder) {
  return path == folder || path.starts_with(folder == "/" ? folder : folder + "/");
}

// Whether a folder may be shown below a place of the sandbox's own: anywhere in its /tmp, and in
// its home where no name is that runs use (a user whose name on this machine is "user" has tools
// there).
bool may_lie_in(const std::string& name, std::string_view taken) {
  if (name == taken) return false;
  if (taken == "/tmp") return true;
  if (taken != "/home/user") return false;
  auto rest = name.substr(taken.size() + 1);
  auto first = rest.substr(0, rest.find('/'));
  return first != "repo" && first != "work" && first != ".skep";
}

// Between fork and exec: only what is safe there.
[[noreturn]] void exec_probe(const std::vector<char*>& argv, int error_fd,
                             const service_account* account) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGCHLD, SIG_DFL);
  if (account && !drop_to(*account)) ::_exit(126);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL); // after drop_to: changing ids clears it
  int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, 0);
  ::dup2(null, 1);
  ::dup2(error_fd, 2);
  ::close_range(3, ~0U, 0);
  char* environment[] = {nullptr};
  ::execve(argv[0], argv.data(), environment);
  ::_exit(127);
}

} // namespace

std::string find_bwrap() {
  for (const char* path : {"/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"})
    if (::access(path, X_OK) == 0) return path;
  return {};
}

std::vector<std::string> isolation_args() {
  return {"--unshare-all",
          "--unshare-user",
          "--disable-userns",
          "--die-with-parent",
          "--new-session",
          "--uid",
          "1000",
          "--gid",
          "1000",
          "--ro-bind",
          "/usr",
          "/usr",
          "--symlink",
          "usr/bin",
          "/bin",
          "--symlink",
          "usr/sbin",
          "/sbin",
          "--symlink",
          "usr/lib",
          "/lib",
          "--symlink",
          "usr/lib64",
          "/lib64",
          "--proc",
          "/proc",
          "--dev",
          "/dev"};
}

result<void> check_isolation(std::string_view service_user) {
  auto bwrap = find_bwrap();
  if (bwrap.empty())
    return make_error(errc::no_isolation,
                      "bubblewrap is not installed (package bubblewrap, program bwrap)");
  service_account account;
  bool root = ::geteuid() == 0;
  if (root) {
    auto found = find_service_user(service_user);
    if (!found) return found.err();
    account = *found;
  }
  std::vector<std::string> args{bwrap};
  for (auto& x : isolation_args())
    args.push_back(std::move(x));
  args.insert(args.end(), {"--clearenv", "--", "/usr/bin/true"});
  std::vector<char*> argv;
  for (auto& x : args)
    argv.push_back(x.data());
  argv.push_back(nullptr);
  auto errors = make_pipe();
  if (!errors) return errors.err();
  auto pid = ::fork();
  if (pid < 0) return system_error("fork");
  if (pid == 0) exec_probe(argv, errors->write.get(), root ? &account : nullptr);
  errors->write.reset();
  unique_fd handle{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  pollfd wait{handle.get(), POLLIN, 0};
  bool ended = handle && ::poll(&wait, 1, static_cast<int>(probe_deadline.count())) == 1;
  if (!ended) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) return make_error(errc::no_isolation, "bubblewrap did not answer within 10 s");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  auto text = read_all(errors->read.get(), 65536);
  auto cause = text ? text->substr(0, 500) : std::string{};
  while (!cause.empty() && cause.back() == '\n')
    cause.pop_back();
  if (cause.empty()) cause = "bwrap exit status " + std::to_string(status);
  return make_error(errc::no_isolation, likely_reason(), cause);
}

// A bound folder is readable by every sandbox: it must not hold the host's sockets or hide the
// system's own places.
error bind_refused(const std::string& path, const std::string& state) {
  if (!path.starts_with('/')) return make_error(errc::bad_argument, path + ": not absolute");
  char text[PATH_MAX];
  if (!::realpath(path.c_str(), text))
    return make_error(errc::file_not_found, path, std::strerror(errno));
  std::string real{text};
  if (inside(state, real) || inside(real, state))
    return make_error(errc::bad_argument, path + " would show the state directory");
  for (const char* taken : {"/proc", "/dev", "/sys", "/run", "/tmp", "/home/user", "/opt/skep"})
    for (const auto& name : {path, real})
      if (inside(name, taken) && !may_lie_in(name, taken))
        return make_error(errc::bad_argument, path + ": " + taken + " is the sandbox's own");
  if (real == "/" || real == "/etc" || real == "/root")
    return make_error(errc::bad_argument, path + " would show too much");
  return {};
}

} // namespace skep::host
