#include "guest/agent_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::guest {
namespace {

enum class stage : int { session, directory, execute };

struct exec_report {
  stage where;
  int number;
};

struct streams {
  unique_fd agent_in, agent_out; ///< The agent's ends.
  std::string terminal;          ///< Path of the pty's slave side, or empty.
};

start_failure failure(const char* what) {
  return {errno, what};
}

start_failure open_terminal(const pane_options& options, agent_process& out, streams& s) {
  out.output = unique_fd{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)};
  std::array<char, 64> name{};
  if (!out.output || ::grantpt(out.output.get()) != 0 || ::unlockpt(out.output.get()) != 0
      || ::ptsname_r(out.output.get(), name.data(), name.size()) != 0)
    return failure("no terminal");
  s.terminal = name.data();
  // Held until the agent has it open, or the master would report the end at once.
  s.agent_in = unique_fd{::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC)};
  if (!s.agent_in) return failure(name.data());
  winsize size{options.rows, options.columns, 0, 0};
  ::ioctl(out.output.get(), TIOCSWINSZ, &size);
  out.input = unique_fd{::fcntl(out.output.get(), F_DUPFD_CLOEXEC, 0)};
  return out.input ? start_failure{} : failure("dup");
}

start_failure open_pipes(const pane_options& options, int stdin_file, agent_process& out,
                         streams& s) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return failure("pipe");
  out.output = unique_fd{fds[0]};
  s.agent_out = unique_fd{fds[1]};
  ::fcntl(fds[0], F_SETFL, O_NONBLOCK);
  if (stdin_file >= 0) {
    s.agent_in = unique_fd{::fcntl(stdin_file, F_DUPFD_CLOEXEC, 0)};
  } else if (options.stdin_open) {
    if (::pipe2(fds, O_CLOEXEC) != 0) return failure("pipe");
    s.agent_in = unique_fd{fds[0]};
    out.input = unique_fd{fds[1]};
    ::fcntl(fds[1], F_SETFL, O_NONBLOCK);
  } else {
    s.agent_in = unique_fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  }
  return s.agent_in ? start_failure{} : failure("standard input");
}

[[noreturn]] void give_up(int report, stage where) {
  exec_report r{where, errno};
  if (::write(report, &r, sizeof r) < 0) ::_exit(126);
  ::_exit(127);
}

[[noreturn]] void run_agent(const pane_options& options, const streams& s, int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL); // without the holder its output would be lost
  if (::setsid() < 0) give_up(report, stage::session);
  if (!s.terminal.empty()) {
    int tty = ::open(s.terminal.c_str(), O_RDWR); // the session's first: becomes its terminal
    if (tty < 0) give_up(report, stage::session);
    ::ioctl(tty, TIOCSCTTY, 0);
    for (int fd : {0, 1, 2})
      if (::dup2(tty, fd) < 0) give_up(report, stage::session);
    if (tty > 2) ::close(tty);
    ::setenv("TERM", "xterm-256color", 0);
  } else if (::dup2(s.agent_in.get(), 0) < 0 || ::dup2(s.agent_out.get(), 1) < 0
             || ::dup2(s.agent_out.get(), 2) < 0) {
    give_up(report, stage::session);
  }
  for (int signal = 1; signal < NSIG; ++signal)
    ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(options.agent_umask);
  if (!options.cwd.empty() && ::chdir(options.cwd.c_str()) != 0) give_up(report, stage::directory);
  std::vector<char*> argv;
  for (const auto& a : options.argv)
    argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  give_up(report, stage::execute);
}

} // namespace

start_failure start_agent(const pane_options& options, int stdin_file, agent_process& out) {
  streams s;
  auto opened =
      options.pty ? open_terminal(options, out, s) : open_pipes(options, stdin_file, out, s);
  if (opened.number) return opened;
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return failure("pipe");
  unique_fd report{fds[0]}, report_write{fds[1]};
  out.pid = ::fork();
  if (out.pid < 0) return failure("fork");
  if (out.pid == 0) run_agent(options, s, report_write.get());
  report_write.reset();
  // Ends at once with exec (close-on-exec) or with the report of a failure.
  exec_report told{};
  ssize_t n;
  while ((n = ::read(report.get(), &told, sizeof told)) < 0 && errno == EINTR) {
  }
  if (n != static_cast<ssize_t>(sizeof told)) return {};
  while (::waitpid(out.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  out.pid = -1;
  auto what = told.where == stage::execute     ? options.argv[0]
              : told.where == stage::directory ? options.cwd
                                               : std::string{"a new session"};
  return {told.number, what};
}

} // namespace skep::guest
