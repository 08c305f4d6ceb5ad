#include "host/envd/process.hpp"

#include "host/envd/connect_rpc.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sys/wait.h>

namespace skep::envd {

namespace {
constexpr std::size_t pipe_piece_bytes = 32U << 10;
constexpr std::size_t terminal_piece_bytes = 16U << 10;
constexpr std::chrono::seconds ended_kept_for{30};
/// The largest pipe of an ordinary user: what was in one when nobody waited any more is not more.
constexpr std::size_t most_after_cut_bytes = 1U << 20;

// The words of Go's syscall.Signal, which E2B's clients see.
std::string signal_text(int number) {
  switch (number) {
  case SIGHUP:
    return "hangup";
  case SIGINT:
    return "interrupt";
  case SIGQUIT:
    return "quit";
  case SIGILL:
    return "illegal instruction";
  case SIGTRAP:
    return "trace/breakpoint trap";
  case SIGABRT:
    return "aborted";
  case SIGBUS:
    return "bus error";
  case SIGFPE:
    return "floating point exception";
  case SIGKILL:
    return "killed";
  case SIGUSR1:
    return "user defined signal 1";
  case SIGSEGV:
    return "segmentation fault";
  case SIGUSR2:
    return "user defined signal 2";
  case SIGPIPE:
    return "broken pipe";
  case SIGALRM:
    return "alarm clock";
  case SIGTERM:
    return "terminated";
  default:
    return "signal " + std::to_string(number);
  }
}

json end_of(int status) {
  json out = json::object();
  std::string text;
  if (WIFEXITED(status)) {
    int code = WEXITSTATUS(status);
    text = "exit status " + std::to_string(code);
    if (code != 0) out["exitCode"] = code;
    out["exited"] = true;
    out["status"] = text;
    if (code != 0) out["error"] = text;
  } else {
    text = "signal: " + signal_text(WTERMSIG(status));
    if (WCOREDUMP(status)) text += " (core dumped)";
    out["exitCode"] = -1;
    out["status"] = text;
    out["error"] = text;
  }
  return json{{"end", out}};
}

void adopt(asio::posix::stream_descriptor& to, int fd) {
  if (fd >= 0) to.assign(fd);
}
} // namespace

process::process(asio::io_context& io, pause_clock& time, const spawned& s, json config,
                 std::optional<std::string> tag)
    : io_(io), time_(time), pid_(s.pid), config_(std::move(config)), tag_(std::move(tag)),
      input_(io), output_(io), errors_(io), terminal_(io), on_terminal_(s.terminal >= 0),
      deadline_(io), feed_(io), input_free_(io) {
  adopt(input_, s.input);
  adopt(output_, s.output);
  adopt(errors_, s.errors);
  adopt(terminal_, s.terminal);
}

void process::run() {
  auto start = [this](descriptor& from, const char* name, std::size_t piece) {
    if (!from.is_open()) return;
    ++pumps_;
    asio::co_spawn(
        io_,
        [self = shared_from_this(), &from, name, piece] { return self->pump(from, name, piece); },
        asio::detached);
  };
  start(output_, "stdout", pipe_piece_bytes);
  start(errors_, "stderr", pipe_piece_bytes);
  start(terminal_, "pty", terminal_piece_bytes);
}

task<void> process::pump(descriptor& from, const char* name, std::size_t piece_bytes) {
  static std::array<char, pipe_piece_bytes> piece; // filled and emptied without a wait between
  auto self = shared_from_this();
  std::size_t after_cut = 0;
  for (;;) {
    while (!feed_.room())
      co_await feed_.room_changed.wait();
    auto n = ::read(from.native_handle(), piece.data(), piece_bytes);
    if (n > 0) {
      if (feed_.heard()) {
        std::string_view bytes{piece.data(), static_cast<std::size_t>(n)};
        feed_.publish(json{{"data", {{name, base64_encode(bytes)}}}});
      }
      // Others get their turn, also when a process writes without end.
      co_await asio::post(io_, asio::use_awaitable);
      // One that is no child of ours any more may write on for ever.
      if (cut_ && (after_cut += static_cast<std::size_t>(n)) >= most_after_cut_bytes) break;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n == 0 || errno != EAGAIN) break; // EIO: the terminal's other side is closed
    if (cut_) break;
    error_code ec;
    co_await from.async_wait(descriptor::wait_read, into(ec));
    if (ec && !cut_) break;
  }
  --pumps_;
  close_read(from);
  try_end();
}

// Closing our side of a terminal hangs it up, and SIGHUP would end a process that has closed its
// descriptors but not yet exited. So a terminal stays until its process has gone.
void process::close_read(descriptor& from) {
  error_code ignored;
  if (&from != &terminal_ || status_) from.close(ignored);
}

std::shared_ptr<event_queue> process::attach() {
  return feed_.attach(json{{"start", {{"pid", pid_}}}});
}

void process::kill_after(std::chrono::milliseconds limit) {
  kill_at_ = time_.now() + limit;
  await_deadline();
}

// The timer runs on the machine's clock, the deadline on the sandbox's: after a pause it is early.
void process::await_deadline() {
  deadline_.expires_after(kill_at_ - time_.now());
  deadline_.async_wait([weak = weak_from_this()](error_code ec) {
    auto self = weak.lock();
    if (ec || !self) return;
    if (self->time_.now() < self->kill_at_)
      self->await_deadline();
    else if (self->status_)
      self->end_leftovers();
    else
      self->killed_late_ = self->signal(SIGKILL);
  });
}

// It ended in time, and what it left behind holds its pipes. The group's id is not given anew while
// one of its members lives; once they are gone it may be another process's, which is left alone.
void process::end_leftovers() {
  if (::kill(pid_, 0) != 0 && errno == ESRCH) ::kill(-pid_, SIGKILL);
  cut();
}

bool process::signal(int number) {
  // Not reaped yet, so the pid is still this process's.
  if (status_) return false;
  if (::kill(pid_, number) != 0) return false;
  // Its group, too, which it leads: a child that lived on would go on with its work. What made a
  // session or a group of its own is not in it. Until it is reaped, the group's id is not reused.
  if (number == SIGKILL) ::kill(-pid_, SIGKILL);
  signalled_ = true;
  return true;
}

task<void> process::write_input(std::string data, bool to_terminal) {
  auto self = shared_from_this();
  auto& to = to_terminal ? terminal_ : input_;
  if (!to.is_open())
    fail(rpc_code::internal, to_terminal ? "the process has no tty" : "the process has no stdin");
  while (input_busy_) // one request's bytes are not mixed with another's
    co_await input_free_.wait();
  if (!to.is_open()) fail(rpc_code::internal, "the input is closed");
  input_busy_ = true;
  error_code ec;
  co_await asio::async_write(to, asio::buffer(data), into(ec));
  input_busy_ = false;
  input_free_.notify();
  if (ec) fail(rpc_code::internal, "error writing to the process: " + ec.message());
}

void process::close_input() {
  if (on_terminal_) fail(rpc_code::unknown, "cannot close stdin of a tty: send 0x04 instead");
  error_code ignored;
  input_.close(ignored);
}

bool process::resize(terminal_size size) {
  return terminal_.is_open() && resize_terminal(terminal_.native_handle(), size);
}

void process::exited(int status) {
  status_ = status;
  error_code ignored;
  input_.close(ignored);
  if (signalled_) cut();
  if (pumps_ == 0) terminal_.close(ignored);
  try_end();
}

// After a signal from us nobody waits for other holders of the pipes.
void process::cut() {
  cut_ = true;
  error_code ignored;
  for (auto* d : {&output_, &errors_, &terminal_})
    if (d->is_open()) d->cancel(ignored);
}

void process::try_end() {
  if (!status_ || pumps_ > 0 || ended()) return;
  deadline_.cancel();
  auto end = end_of(*status_);
  ended_how_ = end["end"]["status"].get<std::string>();
  feed_.end(end);
  if (on_end) on_end();
}

std::shared_ptr<process> process_table::start(const spawn_request& request, json config,
                                              std::optional<std::string> tag) {
  auto s = spawn(request);
  if (!s) fail(rpc_code::resource_exhausted, s.err().message + ": " + s.err().cause);
  auto p = std::make_shared<process>(io_, time_, *s, std::move(config), std::move(tag));
  all_.insert_or_assign(p->pid(), p);
  auto news = [this](const char* what, const process& of) {
    if (!on_news) return;
    json fields{{"pid", std::to_string(of.pid())}};
    if (of.config().contains("cmd")) fields["cmd"] = of.config()["cmd"];
    if (of.tag()) fields["tag"] = *of.tag();
    if (of.ended()) fields["status"] = of.ended_how();
    on_news(json{{"level", "info"}, {"message", what}, {"fields", std::move(fields)}});
  };
  news("process started", *p);
  p->on_end = [this, news, weak = std::weak_ptr<process>(p)] {
    if (auto ended = weak.lock()) news("process ended", *ended);
    auto forget = std::make_shared<asio::steady_timer>(io_, ended_kept_for);
    forget->async_wait([this, weak, forget](error_code) {
      auto ended = weak.lock();
      if (!ended) return;
      auto i = all_.find(ended->pid());
      if (i != all_.end() && i->second == ended) all_.erase(i); // not a later one of the same pid
    });
  };
  return p;
}

std::shared_ptr<process> process_table::find(const json& selector, bool also_ended) {
  if (const auto* tag = envd::find(selector, "tag")) {
    auto name = tag->is_string() ? tag->get<std::string>() : std::string{};
    std::shared_ptr<process> ended;
    for (const auto& [pid, p] : all_) {
      if (p->tag() != name) continue;
      if (!p->ended()) return p;
      ended = p;
    }
    if (ended && also_ended) return ended;
    fail(rpc_code::not_found, "process with tag " + name + " not found");
  }
  if (!envd::find(selector, "pid"))
    fail(rpc_code::invalid_argument, "the process must be selected by pid or tag");
  auto pid = get_int(selector, "pid");
  auto i = all_.find(static_cast<pid_t>(pid));
  if (i == all_.end() || i->first != pid || (i->second->ended() && !also_ended))
    fail(rpc_code::not_found, "process with pid " + std::to_string(pid) + " not found");
  return i->second;
}

std::vector<std::shared_ptr<process>> process_table::running() const {
  std::vector<std::shared_ptr<process>> out;
  for (const auto& [pid, p] : all_)
    if (!p->ended()) out.push_back(p);
  return out;
}

void process_table::reap() {
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    auto i = all_.find(pid);
    if (i != all_.end() && !i->second->ended()) i->second->exited(status);
  }
}

} // namespace skep::envd
