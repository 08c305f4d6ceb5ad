#include "guest/pane_holder.hpp"

#include "guest/agent_process.hpp"
#include "guest/control.hpp"
#include "guest/descendants.hpp"
#include "guest/input_queue.hpp"
#include "guest/pane_log.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <optional>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::guest {
namespace {

using steady = std::chrono::steady_clock;
constexpr std::chrono::milliseconds term_grace{2000}; // between TERM and KILL
constexpr std::chrono::milliseconds kill_again{50};   // processes forked while being killed
constexpr std::chrono::milliseconds kill_limit{5000}; // unkillable ones are left behind
constexpr std::chrono::milliseconds log_retry{500};   // while the disk is full
constexpr std::chrono::milliseconds log_limit{30000}; // after the agent's end
constexpr std::size_t max_clients = 16;

class holder {
public:
  holder(const pane_options& options, unique_fd claim) : o_(options), claim_(std::move(claim)) {}

  void run(unique_fd stdin_file, unique_fd report) {
    auto failed = start(std::move(stdin_file));
    start_report told{agent_.pid, failed.number};
    if (failed.number) {
      leave_failure(failed);
      tell(report, told);
      return;
    }
    tell(report, told);
    report.reset();
    while (!finished())
      step();
    finish(status_);
  }

private:
  struct client {
    unique_fd fd;
    std::string in;
    bool waiting = false; // for its input to be written, or for the end of everything
  };

  static void tell(unique_fd& report, const start_report& told) {
    if (::write(report.get(), &told, sizeof told) < 0) return; // the starter is gone: go on alone
  }

  // -- start and end ------------------------------------------------------------------------------

  start_failure start(unique_fd stdin_file) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1); // orphans of the agent become ours, so none is overlooked
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGHUP, SIG_IGN);
    ::signal(SIGINT, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = unique_fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    auto log = o_.dir + "/log";
    if (!signals_ || !log_.open(log, o_.log_cap_bytes)) return {errno, log};
    if (!reserve_exit(o_.dir)) return {errno ? errno : EIO, "exit.reserve"};
    if (!reserve_pid(o_.dir)) return {errno ? errno : EIO, "pid.reserve"};
    if (auto failed = listen(); failed.number) return failed;
    auto size = std::to_string(o_.columns) + " " + std::to_string(o_.rows) + "\n";
    if (o_.pty && !transfer::write_file_durably(o_.dir + "/terminal", size, 0600))
      return {EIO, "terminal"};
    auto failed = start_agent(o_, stdin_file.get(), agent_);
    if (failed.number) return failed;
    if (!inputs_.open(o_.dir, std::move(agent_.input), o_.pty)) return {EIO, "inputs"};
    if (!write_pid(o_.dir, agent_.pid, ::getpid())) return {EIO, "pid"};
    return {};
  }

  start_failure listen() {
    auto address = control_address(o_.dir, dir_);
    listener_ = unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!address || !listener_
        || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) != 0
        || ::listen(listener_.get(), max_clients) != 0)
      return {errno ? errno : EIO, "control.sock"};
    return {};
  }

  void leave_failure(const start_failure& failed) {
    auto text = "skep: cannot start: " + failed.what + ": " + std::strerror(failed.number) + "\n";
    pending_ += text;
    if (agent_.pid > 0) signal_descendants(SIGKILL);
    if (log_) write_log();
    finish((failed.number == EACCES ? 126 : 127) << 8);
  }

  /// The last act.
  void finish(int status) {
    answer(inputs_.close(), "exited");
    clients_.clear();
    ::unlink((o_.dir + "/control.sock").c_str());
    listener_.reset();
    if (log_) log_.sync();
    exit_record record;
    record.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    record.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    record.final_offset = log_.size();
    record.ended_at = now();
    auto deadline = steady::now() + log_limit;
    for (;;) {
      auto written = write_exit(o_.dir, record);
      if (written.ok() || written.err().code != errc::disk_full || steady::now() > deadline) return;
      // sleep: nothing tells when a disk gets room; it is tried again until the deadline above
      ::poll(nullptr, 0, static_cast<int>(log_retry.count()));
    }
  }

  // -- the loop -----------------------------------------------------------------------------------

  bool finished() const {
    if (!agent_ended_ || !childless_) return false;
    return pending_.empty() ? output_ended_ : steady::now() > log_deadline_;
  }

  void step() {
    std::vector<pollfd> fds{{signals_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    if (clients_.size() >= max_clients) fds[1].fd = -1;
    fds.push_back({!output_ended_ && pending_.empty() ? agent_.output.get() : -1, POLLIN, 0});
    fds.push_back({inputs_.wants_to_write() ? inputs_.fd() : -1, POLLOUT, 0});
    std::vector<int> ids;
    for (auto& [id, c] : clients_) {
      // One that waits is only watched for hanging up.
      fds.push_back({c.fd.get(), static_cast<short>(c.waiting ? 0 : POLLIN), 0});
      ids.push_back(id);
    }
    ::poll(fds.data(), fds.size(), timeout());
    if (fds[0].revents) read_signals();
    if (!pending_.empty()) write_log();
    if (fds[2].revents) read_output();
    if (fds[3].revents) flush_inputs();
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (fds[4 + i].revents) serve(ids[i]);
    if (fds[1].revents & POLLIN) accept();
    if (kill_at_ && steady::now() >= *kill_at_) kill_everything();
    answer_kills();
    if (agent_ended_ && childless_ && !output_ended_) read_output(); // what is left in the pipe
  }

  int timeout() const {
    auto next = steady::now() + std::chrono::hours{1};
    if (kill_at_) next = std::min(next, *kill_at_);
    if (!pending_.empty()) next = std::min(next, steady::now() + log_retry);
    if (agent_ended_ && childless_ && pending_.empty()) return 0; // only the rest of the pipe
    return transfer::ms_until(next);
  }

  void read_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      if (info.ssi_signo == SIGTERM) terminate();
    for (;;) {
      int status = 0;
      auto pid = ::waitpid(-1, &status, WNOHANG);
      if (pid < 0 && errno == ECHILD) childless_ = true;
      if (pid <= 0) break;
      if (pid != agent_.pid) continue;
      agent_ended_ = true;
      status_ = status;
      log_deadline_ = steady::now() + log_limit;
      kill_deadline_.reset(); // what it left has a time of its own
      answer(inputs_.close(), "exited");
      terminate();
    }
  }

  /// TERM to all that is left, KILL after a grace.
  void terminate() {
    signal_descendants(SIGTERM);
    go_on();
    if (!kill_at_) kill_at_ = steady::now() + term_grace;
  }

  void kill_everything() {
    auto left = signal_descendants(SIGKILL);
    if (!kill_deadline_) kill_deadline_ = steady::now() + kill_limit;
    if (agent_ended_ && (left == 0 || steady::now() > *kill_deadline_)) childless_ = true;
    kill_at_ = steady::now() + kill_again;
  }

  /// A request for the end of everything, whether the agent lives or only what it left. The answer
  /// is taken for proof that nobody works in the pane's tree any more, so it waits for that.
  void end_all(int id) {
    stopped_ = false;
    clients_[id].waiting = true;
    kills_.emplace_back(id, agent_ended_ ? "exited" : "signalled");
    kill_everything();
  }

  /// Once nothing lives, or what still does was given up (kill_limit). An agent that outlives that
  /// limit is no proof of anything: whoever asked is told so, and may ask again.
  void answer_kills() {
    const bool over = agent_ended_ && childless_;
    const bool stuck = !agent_ended_ && kill_deadline_ && steady::now() > *kill_deadline_;
    if (!over && !stuck) return;
    for (const auto& [id, word] : std::exchange(kills_, {}))
      answer(id, over ? word : "error the agent does not end");
  }

  // -- output -------------------------------------------------------------------------------------

  void read_output() {
    std::array<char, 64 * 1024> buffer;
    auto n = ::read(agent_.output.get(), buffer.data(), buffer.size());
    if (n > 0) {
      pending_.assign(buffer.data(), static_cast<std::size_t>(n));
      write_log();
      return;
    }
    if (n < 0 && errno == EINTR) return;
    // A terminal whose last user went answers EIO. Without children nobody can write any more.
    bool empty = n < 0 && errno == EAGAIN;
    if (!empty || (agent_ended_ && childless_)) output_ended_ = true;
  }

  // What a full disk does not take is kept and tried again; meanwhile the agent's pipe fills up.
  void write_log() { pending_.erase(0, log_.write(pending_)); }

  // -- control ------------------------------------------------------------------------------------

  void flush_inputs() {
    std::vector<int> written, refused;
    inputs_.flush(written, refused);
    answer(written, "written");
    answer(refused, "no_input");
  }

  void accept() {
    unique_fd fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (fd) clients_[next_client_++].fd = std::move(fd);
  }

  void answer(const std::vector<int>& ids, std::string_view text) {
    for (int id : ids)
      answer(id, text);
  }

  void answer(int id, std::string_view text) {
    auto i = clients_.find(id);
    if (i == clients_.end()) return; // it did not wait
    auto line = std::string{text} + "\n";
    ::send(i->second.fd.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    clients_.erase(i);
  }

  void serve(int id) {
    auto i = clients_.find(id);
    if (i == clients_.end()) return; // answered meanwhile
    auto& c = i->second;
    std::array<char, 16 * 1024> buffer;
    auto n = ::recv(c.fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      clients_.erase(i);
      return;
    }
    if (c.waiting) return; // bytes behind a request mean nothing
    c.in.append(buffer.data(), static_cast<std::size_t>(n));
    auto end = c.in.find('\n');
    if (end == c.in.npos) {
      if (c.in.size() > 512) answer(id, "error the request is too long");
      return;
    }
    auto request = parse_control(std::string_view{c.in}.substr(0, end));
    if (!request) return answer(id, "error not a request");
    if (c.in.size() - end - 1 < request->length) return; // more is on its way
    carry_out(id, *request, c.in.substr(end + 1, request->length));
  }

  void carry_out(int id, const control_request& request, std::string data) {
    using verb = control_request::verb;
    if (request.what == verb::signal && request.signal == SIGKILL) return end_all(id);
    if (agent_ended_) return answer(id, "exited");
    switch (request.what) {
    case verb::input:
    case verb::close: {
      using outcome = input_queue::outcome;
      clients_[id].waiting = true;
      auto done = inputs_.add(request.key, std::move(data), request.what == verb::close, id);
      if (done == outcome::queued) return flush_inputs();
      return answer(id, done == outcome::duplicate  ? "duplicate"
                        : done == outcome::no_input ? "no_input"
                        : done == outcome::busy     ? "error too much input is waiting"
                                                    : "error the input could not be recorded");
    }
    case verb::signal:
      send(request.signal);
      return answer(id, "signalled");
    case verb::resize: {
      winsize size{request.rows, request.columns, 0, 0};
      bool done = o_.pty && ::ioctl(agent_.output.get(), TIOCSWINSZ, &size) == 0;
      return answer(id, done ? "resized" : "no_pty");
    }
    }
  }

  void send(int signal) {
    if (signal == SIGSTOP || signal == SIGCONT) {
      signal_descendants(signal);
      stopped_ = signal == SIGSTOP;
      return;
    }
    ::kill(-signalled_group(signal), signal);
    go_on();
  }

  /// Stopped processes take no notice of INT and TERM.
  void go_on() {
    if (std::exchange(stopped_, false)) signal_descendants(SIGCONT);
  }

  /// INT goes where a terminal would send it.
  pid_t signalled_group(int signal) const {
    pid_t foreground = 0;
    if (o_.pty && signal == SIGINT && ::ioctl(agent_.output.get(), TIOCGPGRP, &foreground) == 0
        && foreground > 0)
      return foreground;
    return agent_.pid;
  }

  const pane_options& o_;
  unique_fd claim_, dir_, signals_, listener_;
  pane_log log_;
  agent_process agent_;
  input_queue inputs_;
  std::map<int, client> clients_;
  int next_client_ = 0;
  std::vector<std::pair<int, std::string_view>> kills_; // who waits for one, and its answer
  std::string pending_;                                 // read from the agent, not yet in the log
  bool agent_ended_ = false, childless_ = false, output_ended_ = false;
  bool stopped_ = false; // by STOP
  int status_ = 0;
  std::optional<steady::time_point> kill_at_, kill_deadline_;
  steady::time_point log_deadline_{};
};

} // namespace

void hold_pane(const pane_options& options, unique_fd claim, unique_fd stdin_file,
               unique_fd report_fd) {
  holder{options, std::move(claim)}.run(std::move(stdin_file), std::move(report_fd));
}

} // namespace skep::guest
