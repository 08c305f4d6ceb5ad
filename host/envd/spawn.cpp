#include "host/envd/spawn.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skep::envd {

namespace {

// A descriptor that is closed unless it is taken.
struct owned_fd {
  int fd = -1;
  owned_fd() = default;
  owned_fd(const owned_fd&) = delete;
  owned_fd& operator=(const owned_fd&) = delete;
  ~owned_fd() { reset(); }
  void reset() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  int take() { return std::exchange(fd, -1); }
};

bool make_pipe(owned_fd& read_end, owned_fd& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  read_end.fd = ends[0];
  write_end.fd = ends[1];
  return true;
}

bool unblock(const owned_fd& f) {
  return f.fd < 0 || ::fcntl(f.fd, F_SETFL, ::fcntl(f.fd, F_GETFL) | O_NONBLOCK) == 0;
}

void close_from(int first) {
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, 0U) == 0) return;
#endif
  // Kernels before 5.9: collect first, since closing changes the directory being read.
  std::vector<int> open;
  if (auto* dir = ::opendir("/proc/self/fd")) {
    while (auto* entry = ::readdir(dir)) {
      int fd = std::atoi(entry->d_name);
      if (fd >= first) open.push_back(fd);
    }
    ::closedir(dir);
  }
  for (int fd : open)
    ::close(fd);
}

[[noreturn]] void child_fails(const std::string& what, int reason, int status) {
  auto text = "skep-envd: " + what + ": " + std::strerror(reason) + "\n";
  [[maybe_unused]] auto n = ::write(2, text.data(), text.size());
  ::_exit(status);
}

// In the child: descriptors 0 to 2 are `in`, `out` and `err`; nothing else stays open.
[[noreturn]] void run_child(const spawn_request& request, int in, int out, int err) {
  ::setsid();
  // The three may themselves be numbered 0 to 2: move them out of the way first.
  int high[3] = {::fcntl(in, F_DUPFD_CLOEXEC, 10), ::fcntl(out, F_DUPFD_CLOEXEC, 10),
                 ::fcntl(err, F_DUPFD_CLOEXEC, 10)};
  for (int i = 0; i < 3; ++i)
    if (::dup2(high[i], i) < 0) ::_exit(126);
  close_from(3);
  if (request.terminal) ::ioctl(0, TIOCSCTTY, 0);
  for (int signal = 1; signal < NSIG; ++signal)
    ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);

  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(request.program.c_str()));
  for (const auto& a : request.arguments)
    argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> environment;
  for (const auto& e : request.environment)
    environment.push_back(const_cast<char*>(e.c_str()));
  environment.push_back(nullptr);
  if (::chdir(request.directory.c_str()) != 0) child_fails(request.directory, errno, 126);
  environ = environment.data(); // execvp looks the program up in this PATH
  ::execvp(argv[0], argv.data());
  int reason = errno;
  child_fails(request.program, reason, reason == ENOENT || reason == ENOTDIR ? 127 : 126);
}

error system_error(const char* what) {
  return make_error(errc::io, std::string{"cannot start a process: "} + what, std::strerror(errno));
}

result<spawned> spawn_with_terminal(const spawn_request& request) {
  owned_fd ours;
  owned_fd theirs;
  ours.fd = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ours.fd < 0) return system_error("no pseudo terminal");
  int unlocked = 0;
  if (::ioctl(ours.fd, TIOCSPTLCK, &unlocked) != 0) return system_error("pseudo terminal");
  theirs.fd = ::ioctl(ours.fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (theirs.fd < 0) return system_error("pseudo terminal");
  resize_terminal(ours.fd, request.size);
  if (!unblock(ours)) return system_error("fcntl");
  pid_t pid = ::fork();
  if (pid < 0) return system_error("fork");
  if (pid == 0) run_child(request, theirs.fd, theirs.fd, theirs.fd);
  return spawned{pid, -1, -1, -1, ours.take()};
}

} // namespace

bool resize_terminal(int fd, terminal_size size) {
  winsize w{};
  w.ws_col = size.columns;
  w.ws_row = size.rows;
  return ::ioctl(fd, TIOCSWINSZ, &w) == 0;
}

result<spawned> spawn(const spawn_request& request) {
  if (request.terminal) return spawn_with_terminal(request);
  owned_fd in_read;
  owned_fd in_write;
  owned_fd out_read;
  owned_fd out_write;
  owned_fd err_read;
  owned_fd err_write;
  if (request.stdin_pipe) {
    if (!make_pipe(in_read, in_write)) return system_error("pipe");
  } else {
    in_read.fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in_read.fd < 0) return system_error("/dev/null");
  }
  if (!make_pipe(out_read, out_write) || !make_pipe(err_read, err_write))
    return system_error("pipe");
  if (!unblock(in_write) || !unblock(out_read) || !unblock(err_read)) return system_error("fcntl");
  pid_t pid = ::fork();
  if (pid < 0) return system_error("fork");
  if (pid == 0) run_child(request, in_read.fd, out_write.fd, err_write.fd);
  return spawned{pid, in_write.take(), out_read.take(), err_read.take(), -1};
}

} // namespace skep::envd
