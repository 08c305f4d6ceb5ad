#include "transfer/process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <spawn.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace skep::transfer {
namespace {

constexpr std::size_t max_stderr = 64 * 1024;
constexpr int tick_ms = 100; // how often the cancel flag is looked at

/// See end_programs_with_this_process().
std::atomic<bool> programs_end_with_us{false};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& t : texts)
    out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

struct pipe_pair {
  unique_fd read, write;
  bool open() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return false;
    read = unique_fd{fds[0]};
    write = unique_fd{fds[1]};
    return true;
  }
};

/// Input from memory as a file, so that nothing has to be fed while the program runs.
result<unique_fd> input_file(std::string_view data) {
  if (data.empty()) {
    unique_fd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    if (!null) return io_error("/dev/null", errno);
    return null;
  }
  unique_fd fd{::memfd_create("skep-input", MFD_CLOEXEC)};
  if (!fd) return io_error("memfd_create", errno);
  auto written = write_all(fd.get(), data);
  if (!written) return written.err();
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return io_error("lseek", errno);
  return fd;
}

struct spawn_setup {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  spawn_setup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
                                              | POSIX_SPAWN_SETPGROUP);
  }
  ~spawn_setup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

/// What a program is started with: descriptors that become 0, 1 and 2, a folder or null, its words
/// and its environment, both with a null at the end.
struct start_plan {
  std::array<int, 3> streams;
  const char* folder;
  char* const* argv;
  char* const* env;
};

/// posix_spawnp(3): nothing of the caller runs in the child, whatever its other threads do.
int spawn(const start_plan& plan, pid_t& child) {
  spawn_setup setup;
  for (int target = 0; target < 3; ++target)
    posix_spawn_file_actions_adddup2(&setup.actions, plan.streams[static_cast<std::size_t>(target)],
                                     target);
  if (plan.folder) posix_spawn_file_actions_addchdir_np(&setup.actions, plan.folder);
  return ::posix_spawnp(&child, plan.argv[0], &setup.actions, &setup.attributes, plan.argv,
                        plan.env);
}

/// False with errno where the descriptor cannot take this place.
bool put_at(int fd, int target) {
  if (fd == target) return ::fcntl(fd, F_SETFD, 0) == 0; // dup2 would leave it close-on-exec
  return ::dup2(fd, target) >= 0;
}

/// In the forked child, where only what is safe in a signal handler may be called.
[[noreturn]] void become_program(const start_plan& plan, pid_t parent, int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127); // it died before that: no signal comes any more
  ::setpgid(0, 0);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  bool ready = put_at(plan.streams[0], 0) && put_at(plan.streams[1], 1)
               && put_at(plan.streams[2], 2) && (!plan.folder || ::chdir(plan.folder) == 0);
  if (ready) {
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execvpe(plan.argv[0], plan.argv, plan.env);
  }
  int failed = errno;
  if (::write(report, &failed, sizeof failed) < 0) ::_exit(126);
  ::_exit(127);
}

/// As spawn(), for a program that is ended with this thread.
int spawn_bound(const start_plan& plan, pid_t& child) {
  pipe_pair report;
  if (!report.open()) return errno;
  const pid_t us = ::getpid();
  child = ::fork();
  if (child < 0) return errno;
  if (child == 0) become_program(plan, us, report.write.get());
  report.write.reset();
  // Ends at once with exec (close-on-exec) or with the report of a failure.
  int failed = 0;
  ssize_t n;
  while ((n = ::read(report.read.get(), &failed, sizeof failed)) < 0 && errno == EINTR) {
  }
  if (n != static_cast<ssize_t>(sizeof failed)) return 0;
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return failed;
}

/// Reads what is there; false at the end of the stream.
bool drain(int fd, std::string& out, std::size_t keep) {
  std::array<char, 64 * 1024> buffer;
  auto n = ::read(fd, buffer.data(), buffer.size());
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (n == 0) return false;
  auto room = keep > out.size() ? keep - out.size() : 0;
  out.append(buffer.data(), std::min(static_cast<std::size_t>(n), room));
  return true;
}

void reap(pid_t child, outcome& out) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  out.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  out.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/// ENOENT and EACCES say the same of a program that is missing and of a working directory that is
/// gone or closed.
error why_not_started(const program& p, int failed) {
  bool either = failed == ENOENT || failed == EACCES;
  const auto& name = p.argv[0];
  bool there =
      name.find('/') == name.npos ? !in_path(name).empty() : ::access(name.c_str(), X_OK) == 0;
  if (either && !there) return make_error(errc::program_missing, p.argv[0]);
  if (either && !p.working_dir.empty()) return io_error(p.working_dir, failed);
  return io_error(p.argv[0], failed);
}

} // namespace

std::string in_path(const std::string& program) {
  const auto* path = std::getenv("PATH");
  std::string_view rest{path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path};
  while (!rest.empty()) {
    auto end = rest.find(':');
    auto folder = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!folder.starts_with('/')) continue;
    auto candidate = std::string{folder} + "/" + program;
    std::error_code ignored;
    if (::access(candidate.c_str(), X_OK) == 0
        && std::filesystem::is_regular_file(candidate, ignored))
      return candidate;
  }
  return {};
}

void end_programs_with_this_process() {
  programs_end_with_us = true;
}

result<outcome> run_program(const program& p) {
  if (p.argv.empty()) return make_error(errc::internal, "run_program without a program");
  unique_fd input;
  if (p.stdin_fd < 0) {
    auto made = input_file(p.stdin_data);
    if (!made) return made.err();
    input = std::move(*made);
  }
  pipe_pair out_pipe, err_pipe;
  if (p.stdout_fd < 0 && !out_pipe.open()) return io_error("pipe", errno);
  if (!err_pipe.open()) return io_error("pipe", errno);

  auto argv = pointers(p.argv);
  std::vector<char*> env;
  if (p.environment) env = pointers(*p.environment);
  const start_plan plan{{p.stdin_fd < 0 ? input.get() : p.stdin_fd,
                         p.stdout_fd < 0 ? out_pipe.write.get() : p.stdout_fd,
                         err_pipe.write.get()},
                        p.working_dir.empty() ? nullptr : p.working_dir.c_str(),
                        argv.data(),
                        p.environment ? env.data() : environ};
  pid_t child = -1;
  const bool bound = programs_end_with_us && !p.outlives_us;
  int failed = bound ? spawn_bound(plan, child) : spawn(plan, child);
  if (failed != 0) return why_not_started(p, failed);
  out_pipe.write.reset();
  err_pipe.write.reset();

  // The pidfd tells of the end even when a grandchild keeps the pipes open.
  unique_fd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, child, 0))};
  auto deadline = std::chrono::steady_clock::now() + p.limit;
  outcome result_;
  error trouble;
  std::array<pollfd, 3> fds{pollfd{out_pipe.read.get(), POLLIN, 0},
                            pollfd{err_pipe.read.get(), POLLIN, 0}, pollfd{pidfd.get(), POLLIN, 0}};
  bool ended = false;
  while (fds[0].fd >= 0 || fds[1].fd >= 0 || (pidfd && !ended)) {
    int wait = std::min(ms_until(deadline), p.cancel ? tick_ms : 24 * 3600 * 1000);
    if (ended) wait = 0; // only what is already in the pipes
    int n = ::poll(fds.data(), fds.size(), wait);
    if (n < 0 && errno != EINTR) {
      trouble = io_error("poll", errno);
      break;
    }
    if (n == 0 && ended) break;
    if (fds[0].fd >= 0 && fds[0].revents && !drain(fds[0].fd, result_.out, p.max_capture + 1))
      fds[0].fd = -1;
    if (fds[1].fd >= 0 && fds[1].revents && !drain(fds[1].fd, result_.err, max_stderr))
      fds[1].fd = -1;
    if (fds[2].fd >= 0 && fds[2].revents) {
      ended = true;
      fds[2].fd = -1;
    }
    if (result_.out.size() > p.max_capture)
      trouble = make_error(errc::too_large, p.argv[0] + " wrote more than expected");
    else if (p.cancel && p.cancel->load())
      trouble = make_error(errc::cancelled, p.argv[0]);
    else if (!ended && ms_until(deadline) == 0)
      trouble = make_error(errc::timed_out, p.argv[0] + " took longer than "
                                                + std::to_string(p.limit.count()) + " ms");
    if (trouble) break;
  }
  if (trouble) ::kill(-child, SIGKILL);
  reap(child, result_);
  if (trouble) return trouble;
  return result_;
}

result<std::string> run_for_output(const program& p) {
  auto ran = run_program(p);
  if (!ran) return ran.err();
  if (!ran->good()) {
    auto text = ran->err.substr(ran->err.size() > 2000 ? ran->err.size() - 2000 : 0);
    while (!text.empty() && text.back() == '\n')
      text.pop_back();
    auto what = p.argv[0];
    for (std::size_t i = 1; i < p.argv.size(); ++i)
      if (p.argv[0] == "git" && p.argv[i][0] != '-' && p.argv[i - 1] != "-c"
          && p.argv[i - 1] != "-C") {
        what += " " + p.argv[i];
        break;
      }
    what += ran->signal ? " was ended by signal " + std::to_string(ran->signal)
                        : " ended with exit code " + std::to_string(ran->exit_code);
    return make_error(errc::io, what, text);
  }
  return std::move(ran->out);
}

std::vector<std::string> git_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e; ++e) {
    std::string_view entry{*e};
    if (entry.starts_with("GIT_") || entry.starts_with("LC_") || entry.starts_with("LANG=")
        || entry.starts_with("LANGUAGE="))
      continue;
    out.emplace_back(entry);
  }
  out.insert(out.end(), {"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0",
                         "GIT_NO_REPLACE_OBJECTS=1", "GIT_PAGER=cat"});
  return out;
}

} // namespace skep::transfer
