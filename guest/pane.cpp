#include "guest/pane.hpp"

#include "guest/pane_holder.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::guest {
namespace {

constexpr std::chrono::seconds start_limit{30};

result<json> exited(const std::string& dir) {
  auto record = read_exit(dir);
  if (!record) return record.err();
  json out = json::object();
  out["state"] = "exited";
  out.update(to_json(*record));
  return out;
}

result<json> as_it_is(const std::string& dir) {
  if (look(dir) == pane_state::lost) settle_lost(dir);
  if (look(dir) == pane_state::exited) return exited(dir);
  // The holder writes it once the agent's exec has succeeded.
  auto pid = transfer::read_file(dir + "/pid", 100);
  json out = json::object();
  out["state"] = pid ? "running" : "starting";
  if (pid) out["pid"] = std::strtol(pid->c_str(), nullptr, 10);
  return out;
}

/// Closes what was inherited but is not in `keep`: a starter's socket held here would never end.
void close_others(std::vector<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned from = 3;
  for (int fd : keep) {
    if (fd < static_cast<int>(from)) continue;
    if (static_cast<unsigned>(fd) > from) ::close_range(from, static_cast<unsigned>(fd) - 1, 0);
    from = static_cast<unsigned>(fd) + 1;
  }
  ::close_range(from, ~0u, 0);
}

/// The grandchild goes on as the holder; nothing ties it to this process, its terminal or its
/// group.
[[noreturn]] void become_holder(const pane_options& options, unique_fd lock, unique_fd input,
                                unique_fd report) {
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  unique_fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  for (int fd : {0, 1, 2})
    if (null) ::dup2(null.get(), fd);
  null.reset();
  close_others({lock.get(), input.get(), report.get()});
  if (::chdir("/") != 0) ::_exit(1);
  hold_pane(options, std::move(lock), std::move(input), std::move(report));
  ::_exit(0);
}

} // namespace

result<json> start_pane(const pane_options& given) {
  auto options = given;
  if (options.argv.empty()) return make_error(errc::bad_argument, "no program after --");
  if (options.dir.empty() || options.dir[0] != '/')
    return make_error(errc::bad_argument, "--dir must be an absolute path");
  while (options.dir.ends_with('/'))
    options.dir.pop_back();
  ::umask(0077);
  if (auto made = transfer::make_dirs(options.dir); !made) return made.err();
  auto root = options.dir.substr(0, options.dir.rfind('/', options.dir.rfind('/') - 1));
  if (auto entered = enter_epoch(root, options.epoch); !entered) return entered.err();
  unique_fd input;
  if (!options.stdin_file.empty()) {
    input = unique_fd{::open(options.stdin_file.c_str(), O_RDONLY | O_CLOEXEC)};
    // Gone when the pane was started before: that answer needs no file.
    if (int why = errno; !input && look(options.dir) == pane_state::absent)
      return transfer::io_error(options.stdin_file, why);
  }
  unique_fd lock;
  auto ours = claim(options.dir, options.epoch, lock);
  if (!ours) return ours.err();
  if (!*ours) return as_it_is(options.dir);
  // The agent reads the open file; a prompt is not left lying around.
  if (!options.stdin_file.empty()) ::unlink(options.stdin_file.c_str());

  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return transfer::io_error("pipe", errno);
  unique_fd report{fds[0]}, report_write{fds[1]};
  pid_t child = ::fork();
  if (child < 0) return transfer::io_error("fork", errno);
  if (child == 0) {
    report.reset();
    become_holder(options, std::move(lock), std::move(input), std::move(report_write));
  }
  report_write.reset();
  lock.reset(); // the holder has it
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  auto deadline = std::chrono::steady_clock::now() + start_limit;
  for (;;) {
    pollfd p{report.get(), POLLIN, 0};
    int n = ::poll(&p, 1, transfer::ms_until(deadline));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return make_error(errc::timed_out, "the pane's holder did not report");
    break;
  }
  start_report told;
  if (::read(report.get(), &told, sizeof told) != static_cast<ssize_t>(sizeof told)) {
    // It ended without a word: before the agent, or it was killed.
    if (look(options.dir) == pane_state::lost) settle_lost(options.dir);
    return as_it_is(options.dir);
  }
  if (told.failed) return exited(options.dir);
  json out = json::object();
  out["state"] = "started";
  out["pid"] = told.pid;
  return out;
}

} // namespace skep::guest
