#include "host/holder.hpp"

#include "host/bwrap.hpp"
#include "host/envd_probe.hpp"
#include "host/holder_process.hpp"
#include "host/privileges.hpp"

#include <boost/asio/buffer.hpp>

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace skep::host {
namespace {

/// How long envd may take from its start to its first answer.
constexpr std::chrono::milliseconds ready_limit{20'000};
constexpr std::size_t kept_error_bytes = 2048;
constexpr int socket_backlog = 4096;

// What foreign programs printed, fit for one line of an error.
std::string printable(std::string text) {
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = ' ';
  while (!text.empty() && text.back() == ' ')
    text.pop_back();
  return text;
}

} // namespace

json refusal(const error& e) {
  return {{"ok", false},
          {"error", std::string{to_string(e.code)}},
          {"message", e.message},
          {"cause", e.cause}};
}

int holder::run() {
  signals_.add(SIGCHLD);
  signals_.add(SIGTERM);
  spawn(io_, await_signals());
  if (auto r = start(); !r) {
    failure_ = r.err();
    end();
  } else {
    spawn(io_, accept_controls());
    spawn(io_, await_lease());
    spawn(io_, keep_errors());
    spawn(io_, await_envd());
    if (gateway_) gateway_->start();
  }
  reap(); // also when nothing was started
  io_.run();
  return failure_ ? 1 : 0;
}

result<void> holder::start() {
  const auto& id = order_.sandbox_id;
  if (auto r = make_dir(claim_.get(), "run", 0700); !r) return r;
  if (auto r = make_dir(state_.sandboxes.get(), id, 0700); !r) return r;
  auto own = open_dir(state_.sandboxes.get(), id);
  if (!own) return own.err();
  if (auto r = make_dir(own->get(), "home", 0755); !r) return r;
  if (::fchmodat(own->get(), "home", 0755, 0) != 0) return system_error("chmod home");

  auto envd = listen_unix(claim_.get(), "envd.sock", socket_backlog);
  if (!envd) return envd.err();
  auto ctl = listen_unix(claim_.get(), "ctl.sock", socket_backlog);
  if (!ctl) return ctl.err();
  controls_.assign({}, ctl->release());
  lease_watch_.assign(::fcntl(lease_.descriptor(), F_DUPFD_CLOEXEC, 0));

  sandbox_parts parts;
  parts.home_dir = state_.path + "/sandboxes/" + id + "/home";
  // Also when nothing is allowed: that may change.
  auto run = open_dir(claim_.get(), "run");
  if (!run) return run.err();
  auto listener = listen_unix(run->get(), "gateway.sock", socket_backlog);
  if (!listener) return listener.err();
  auto made = make_gateway(io_, std::move(*listener), order_.network, order_.prices);
  if (!made) return made.err();
  gateway_ = std::move(*made);
  parts.gateway_dir = state_.path + "/holders/" + id + "/run";
  auto output = make_pipe();
  if (!output) return output.err();
  errors_.assign(output->read.release());
  parts.listener = std::move(*envd);
  parts.error_output = std::move(output->write);
  cgroups_ = sandbox_cgroups::make(order_.cgroups, id, order_.limits);
  parts.cgroup_joins = cgroups_.joins();
  auto pid = start_sandbox(order_, std::move(parts));
  if (!pid) return pid.err();
  sandbox_ = *pid;
  drop_secrets();
  return {};
}

// Keys live on in the gateway alone.
void holder::drop_secrets() {
  forget_keys(order_.network);
  order_.env_vars.clear();
}

task<void> holder::await_signals() {
  for (;;) {
    error_code ec;
    auto number = co_await signals_.async_wait(into(ec));
    if (ec) co_return;
    if (number == SIGTERM) end();
    reap();
  }
}

// Reads on after the start, so that nobody inside blocks on a full pipe: later words are the log.
task<void> holder::keep_errors() {
  char block[4096];
  for (;;) {
    error_code ec;
    auto n = co_await errors_.async_read_some(asio::buffer(block), into(ec));
    if (ec) co_return;
    history_.add_output({block, n}, wall_now_ms());
    if (ready_) continue;
    error_text_.append(block, n);
    if (error_text_.size() > kept_error_bytes)
      error_text_.erase(0, error_text_.size() - kept_error_bytes);
  }
}

task<void> holder::await_envd() {
  auto r = co_await probe_envd(io_, state_, order_.sandbox_id, ready_limit);
  if (ending_) co_return;
  if (!r) {
    failure_ = r.err();
    end();
    co_return;
  }
  ready_ = true;
  error_text_ = {};
  spawn(io_, keep_sampling());
  report({{"ok", true}, {"info", to_json(describe())}});
}

// bubblewrap is our child and, as we are a subreaper, so is all that it leaves behind: when nobody
// is left to wait for, every process of the sandbox is gone.
void holder::reap() {
  for (;;) {
    int status = 0;
    auto pid = ::waitpid(-1, &status, WNOHANG);
    if (pid == 0) return;
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) return finish();
    if (pid != sandbox_) continue;
    sandbox_ = -1;
    end();
    kill_children();
  }
}

// bubblewrap's inner process binds its life to the outer one only after it has started envd: where
// the outer one is killed before, the inner one lives on, as our child now.
void holder::kill_children() {
  std::ifstream children{"/proc/thread-self/children"};
  for (pid_t pid = 0; children >> pid;)
    ::kill(pid, SIGKILL);
}

void holder::end() {
  if (std::exchange(ending_, true)) return;
  if (!ready_ && !failure_)
    failure_ = make_error(errc::host_failed, "the sandbox ended at its start");
  error_code ignored;
  controls_.close(ignored);
  lease_watch_.cancel(ignored);
  // Whoever watches learns it now, before the first process dies.
  for (auto& client : controls_open_)
    client.socket.shutdown(local_socket::shutdown_both, ignored);
  sampling_.cancel();
  if (sandbox_ > 0) ::kill(sandbox_, SIGKILL);
}

void holder::finish() {
  end();
  if (gateway_) gateway_->stop();
  // bubblewrap's last words, if they have not been read yet.
  if (failure_ && errors_.is_open()) {
    error_code ec;
    errors_.non_blocking(true, ec);
    char block[4096];
    for (std::size_t n; (n = errors_.read_some(asio::buffer(block), ec)) > 0 && !ec;)
      error_text_.append(block, n);
  }
  cgroups_.remove();
  auto removed = remove_holder(state_, order_.sandbox_id);
  if (!removed && !failure_) failure_ = removed.err();
  if (failure_) {
    if (failure_->cause.empty()) failure_->cause = printable(error_text_);
    report(refusal(*failure_));
  }
  for (auto& fd : killers_)
    (void)write_all(fd.get(), "{\"ok\":true}\n");
  io_.stop();
}

void holder::report(const json& j) {
  // Nobody may be left to read it: then the next host adopts us.
  (void)write_all(report_.get(), dump(j) + "\n");
  report_.reset();
}

namespace {
// Leaves the host: another process, another session, nothing inherited but the two pipes.
void leave_host() {
  if (auto pid = ::fork(); pid != 0) ::_exit(pid < 0 ? 1 : 0);
  ::setsid();
  (void)!::chdir("/");
}

} // namespace

int hold(const std::string& id) {
  harden_process();
  leave_host();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);
  auto text = read_all(0, max_order_bytes);
  unique_fd report{::fcntl(1, F_DUPFD_CLOEXEC, 3)};
  unique_fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  for (int fd : {0, 1, 2})
    ::dup2(null.get(), fd);
  auto refuse = [&](const error& e) {
    (void)write_all(report.get(), dump(refusal(e)) + "\n");
    return 1;
  };
  if (::getuid() == 0 || ::geteuid() == 0)
    return refuse(make_error(errc::no_isolation, "sandboxes never run as root"));
  if (!text) return refuse(text.err());
  auto order = order_from_json(*text);
  ::explicit_bzero(text->data(), text->size());
  if (!order) return refuse(order.err());
  if (order->sandbox_id != id)
    return refuse(make_error(errc::bad_argument, "the order is for another sandbox"));
  auto state = open_state(order->state_dir);
  if (!state) return refuse(state.err());
  auto claim = claim_holder(*state, id);
  if (!claim) return refuse(claim.err());
  auto time = lease::start(order->timeout_ms);
  if (!time) return refuse(time.err());
  holder it{std::move(*order), std::move(*state), std::move(*claim), std::move(report),
            std::move(*time)};
  return it.run();
}

} // namespace skep::host
