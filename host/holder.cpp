#include "host/holder.hpp"

#include "host/async.hpp"
#include "host/bwrap.hpp"
#include "host/envd_probe.hpp"
#include "host/holder_gateway.hpp"
#include "host/holder_link.hpp"
#include "host/lease.hpp"
#include "host/privileges.hpp"
#include "host/state.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>

#include <csignal>
#include <fcntl.h>
#include <list>
#include <optional>
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

json refusal(const error& e) {
  return {{"ok", false},
          {"error", std::string{to_string(e.code)}},
          {"message", e.message},
          {"cause", e.cause}};
}

// What foreign programs printed, fit for one line of an error.
std::string printable(std::string text) {
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = ' ';
  while (!text.empty() && text.back() == ' ')
    text.pop_back();
  return text;
}

class holder {
public:
  holder(sandbox_order order, state_dir state, unique_fd claim, unique_fd report, lease time)
      : order_(std::move(order)), state_(std::move(state)), claim_(std::move(claim)),
        report_(std::move(report)), lease_(std::move(time)) {}

  int run();

private:
  result<void> start();
  void drop_secrets();
  sandbox_info describe() const;
  task<void> accept_controls();
  task<void> serve_control(std::list<local_socket>::iterator socket);
  result<json> obey(const json& request);
  task<void> await_lease();
  task<void> await_signals();
  task<void> keep_errors();
  task<void> await_envd();
  void reap();
  void end();
  void finish();
  void report(const json& j);

  sandbox_order order_;
  state_dir state_;
  unique_fd claim_; // keeps the lock on holders/ID
  unique_fd report_;
  lease lease_;
  asio::io_context io_{1};
  asio::signal_set signals_{io_};
  local_acceptor controls_{io_};
  asio::posix::stream_descriptor lease_watch_{io_};
  asio::posix::stream_descriptor errors_{io_};
  std::list<local_socket> sockets_; // open control connections
  std::vector<unique_fd> killers_;  // connections that wait for our end
  std::unique_ptr<gateway> gateway_;
  std::string error_text_;
  pid_t sandbox_ = -1;
  bool ready_ = false;
  bool ending_ = false;
  std::optional<error> failure_;
};

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
  auto control = listen_unix(claim_.get(), "ctl.sock", socket_backlog);
  if (!control) return control.err();
  controls_.assign({}, control->release());
  lease_watch_.assign(::fcntl(lease_.descriptor(), F_DUPFD_CLOEXEC, 0));

  sandbox_parts parts;
  parts.home_dir = state_.path + "/sandboxes/" + id + "/home";
  if (!order_.rules.empty()) {
    auto run = open_dir(claim_.get(), "run");
    if (!run) return run.err();
    auto listener = listen_unix(run->get(), "gateway.sock", socket_backlog);
    if (!listener) return listener.err();
    auto made = make_gateway(io_, std::move(*listener), order_.rules);
    if (!made) return made.err();
    gateway_ = std::move(*made);
    parts.gateway_dir = state_.path + "/holders/" + id + "/run";
  }
  auto output = make_pipe();
  if (!output) return output.err();
  errors_.assign(output->read.release());
  parts.listener = std::move(*envd);
  parts.error_output = std::move(output->write);
  auto pid = start_sandbox(order_, std::move(parts));
  if (!pid) return pid.err();
  sandbox_ = *pid;
  drop_secrets();
  return {};
}

// Keys live on in the gateway alone.
void holder::drop_secrets() {
  for (auto& rule : order_.rules)
    for (auto& [name, value] : rule.headers)
      ::explicit_bzero(value.data(), value.size());
  order_.env_vars.clear();
}

sandbox_info holder::describe() const {
  sandbox_info x;
  x.sandbox_id = order_.sandbox_id;
  x.template_id = order_.template_id;
  x.metadata = order_.metadata;
  x.access_token = order_.access_token;
  x.started_at_ms = lease_.started_at_ms();
  x.end_at_ms = lease_.end_at_ms();
  x.pid = ::getpid();
  for (const auto& rule : order_.rules)
    x.domains.push_back(rule.domain);
  x.ready = ready_;
  return x;
}

task<void> holder::accept_controls() {
  while (!ending_) {
    local_socket socket{io_};
    error_code ec;
    co_await controls_.async_accept(socket, into(ec));
    if (ending_) co_return;
    if (ec) continue;
    // 0600 in a 0700 directory already; this also refuses descriptors passed around.
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0
        || (peer.uid != ::getuid() && peer.uid != 0))
      continue;
    set_cloexec(socket.native_handle(), true);
    sockets_.push_front(std::move(socket));
    spawn(io_, serve_control(sockets_.begin()));
  }
}

task<void> holder::serve_control(std::list<local_socket>::iterator socket) {
  std::string input;
  error_code ec;
  while (!ending_) {
    auto size = co_await asio::async_read_until(
        *socket, asio::dynamic_buffer(input, max_order_bytes), '\n', into(ec));
    if (ec || ending_) break;
    auto request = json::parse(input.substr(0, size), nullptr, false);
    input.erase(0, size);
    if (request.is_object() && request.value("op", json{}) == "kill") {
      killers_.emplace_back(::fcntl(socket->native_handle(), F_DUPFD_CLOEXEC, 0));
      sockets_.erase(socket); // before end(), which shuts down what is listed
      end();
      co_return;
    }
    auto answer = obey(request);
    auto line = dump(answer ? *answer : refusal(answer.err())) + "\n";
    co_await asio::async_write(*socket, asio::buffer(line), into(ec));
    if (ec) break;
  }
  sockets_.erase(socket);
}

result<json> holder::obey(const json& request) {
  if (!request.is_object() || !request.contains("op") || !request["op"].is_string())
    return make_error(errc::bad_frame, "request on the control socket");
  auto op = request["op"].get<std::string>();
  if (op == "watch") return json{{"ok", true}, {"info", to_json(describe())}};
  if (op == "usage")
    return json{{"ok", true}, {"gateway", gateway_ ? usage_of(*gateway_) : json(nullptr)}};
  if (op == "set_timeout" || op == "extend") {
    if (!request.contains("ms") || !request["ms"].is_number_integer())
      return make_error(errc::bad_argument, "ms");
    auto ms = request["ms"].get<std::int64_t>();
    if (lease_.exhausted()) return make_error(errc::out_of_range, "Max instance length exceeded");
    if (auto r = op == "extend" ? lease_.extend(ms) : lease_.set(ms); !r) return r.err();
    return json{{"ok", true}, {"endAt_ms", lease_.end_at_ms()}};
  }
  return make_error(errc::unknown_command, op);
}

task<void> holder::await_lease() {
  while (!ending_) {
    error_code ec;
    co_await lease_watch_.async_wait(asio::posix::descriptor_base::wait_read, into(ec));
    if (ec) co_return;
    if (lease_.ended()) end();
  }
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

// Reads on after the start, so that nobody inside blocks on a full pipe; keeps only the start's
// words.
task<void> holder::keep_errors() {
  char block[4096];
  for (;;) {
    error_code ec;
    auto n = co_await errors_.async_read_some(asio::buffer(block), into(ec));
    if (ec) co_return;
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
  }
}

void holder::end() {
  if (std::exchange(ending_, true)) return;
  if (!ready_ && !failure_)
    failure_ = make_error(errc::host_failed, "the sandbox ended at its start");
  error_code ignored;
  controls_.close(ignored);
  lease_watch_.cancel(ignored);
  // Whoever watches learns it now, before the first process dies.
  for (auto& socket : sockets_)
    socket.shutdown(local_socket::shutdown_both, ignored);
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
