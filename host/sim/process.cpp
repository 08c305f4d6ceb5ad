#include "host/sim/process.hpp"

#include "host/envd/connect_rpc.hpp"
#include "host/sim/box.hpp"

#include <boost/asio/detached.hpp>

#include <algorithm>

namespace skep::host::sim {
namespace {

constexpr std::size_t output_piece_bytes = 32u << 10;
constexpr std::chrono::seconds ended_kept_for{30};

using envd::rpc_code;

const char* signal_text(int number) {
  switch (number) {
  case SIGKILL:
    return "killed";
  case SIGTERM:
    return "terminated";
  default:
    return "interrupt";
  }
}

json end_of(exit_state end) {
  json out = json::object();
  if (end.signal == 0) {
    auto text = "exit status " + std::to_string(end.code);
    if (end.code != 0) out["exitCode"] = end.code;
    out["exited"] = true;
    out["status"] = text;
    if (end.code != 0) out["error"] = text;
  } else {
    auto text = std::string{"signal: "} + signal_text(end.signal);
    out["exitCode"] = -1;
    out["status"] = text;
    out["error"] = text;
  }
  return json{{"end", out}};
}

} // namespace

process::process(asio::io_context& io, program_ptr what, json config,
                 std::optional<std::string> tag, bool terminal, bool stdin_pipe)
    : io_(io), what_(std::move(what)), config_(std::move(config)), tag_(std::move(tag)),
      terminal_(terminal), stdin_pipe_(stdin_pipe), deadline_(io), feed_(io) {
  if (!terminal_ && !stdin_pipe_) what_->close_input();
}

void process::run() {
  what_->sink = [weak = weak_from_this()](channel from, std::string text) -> task<void> {
    if (auto self = weak.lock()) co_await self->take(from, std::move(text));
  };
  asio::co_spawn(
      io_, [self = shared_from_this()] { return self->play(); }, asio::detached);
}

task<void> process::play() {
  auto self = shared_from_this();
  exit_state end;
  end.code = co_await run_program(what_);
  if (what_->signalled() != 0) end = {-1, what_->signalled()};
  deadline_.cancel();
  feed_.end(end_of(end));
  what_->sink = {};
  if (on_end) std::exchange(on_end, {})();
}

task<void> process::take(channel from, std::string text) {
  auto self = shared_from_this();
  const char* name = terminal_ ? "pty" : from == channel::out ? "stdout" : "stderr";
  for (std::size_t at = 0; at < text.size(); at += output_piece_bytes) {
    while (!feed_.room() && what_->signalled() == 0)
      co_await feed_.room_changed.wait_until(envd::clock::now() + std::chrono::seconds{1});
    if (what_->signalled() != 0) co_return;
    feed_.publish(json{{"data", {{name, base64_encode(text.substr(at, output_piece_bytes))}}}});
  }
}

std::shared_ptr<envd::event_queue> process::attach() {
  return feed_.attach(json{{"start", {{"pid", pid()}}}});
}

void process::kill_after(std::chrono::milliseconds limit) {
  deadline_.expires_after(limit);
  deadline_.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
    auto self = weak.lock();
    if (ec || !self || self->ended()) return;
    self->killed_late_ = true;
    self->signal(SIGKILL);
  });
}

void process::write_input(const std::string& data, bool to_terminal) {
  if (to_terminal != terminal_ || (!terminal_ && !stdin_pipe_))
    envd::fail(rpc_code::internal,
               to_terminal ? "the process has no tty" : "the process has no stdin");
  what_->give_input(data);
}

void process::close_input() {
  if (terminal_) envd::fail(rpc_code::unknown, "cannot close stdin of a tty: send 0x04 instead");
  what_->close_input();
}

std::shared_ptr<process> process_table::start(program_ptr what, json config,
                                              std::optional<std::string> tag, bool terminal,
                                              bool stdin_pipe) {
  what->pid = new_pid();
  auto p = std::make_shared<process>(io_, std::move(what), std::move(config), std::move(tag),
                                     terminal, stdin_pipe);
  (*all_)[p->pid()] = p;
  p->on_end = [&io = io_, all = std::weak_ptr{all_}, pid = p->pid()] {
    auto forget = std::make_shared<asio::steady_timer>(io, ended_kept_for);
    forget->async_wait([all, pid, forget](boost::system::error_code) {
      if (auto there = all.lock()) there->erase(pid);
    });
  };
  return p;
}

std::shared_ptr<process> process_table::with_pid(int pid) const {
  auto i = all_->find(pid);
  return i == all_->end() || i->second->ended() ? nullptr : i->second;
}

std::shared_ptr<process> process_table::find(const json& selector, bool also_ended) {
  if (const auto* tag = envd::find(selector, "tag")) {
    auto name = tag->is_string() ? tag->get<std::string>() : std::string{};
    for (const auto& [pid, p] : *all_)
      if (p->tag() == name && (also_ended || !p->ended())) return p;
    envd::fail(rpc_code::not_found, "process with tag " + name + " not found");
  }
  if (!envd::find(selector, "pid"))
    envd::fail(rpc_code::invalid_argument, "the process must be selected by pid or tag");
  auto pid = envd::get_int(selector, "pid");
  auto i = all_->find(static_cast<int>(pid));
  if (i == all_->end() || i->first != pid || (i->second->ended() && !also_ended))
    envd::fail(rpc_code::not_found, "process with pid " + std::to_string(pid) + " not found");
  return i->second;
}

std::vector<std::shared_ptr<process>> process_table::running() const {
  std::vector<std::shared_ptr<process>> out;
  for (const auto& [pid, p] : *all_)
    if (!p->ended()) out.push_back(p);
  return out;
}

} // namespace skep::host::sim
