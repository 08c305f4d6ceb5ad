// process.Process: see the table in docs of E2B's envd; semantics are noted in process.hpp.
#include "host/envd/handlers.hpp"

#include <csignal>
#include <sys/stat.h>

namespace skep::envd {

namespace {

terminal_size size_of(const json& pty) {
  const auto* size = find(pty, "size");
  if (!size) fail(rpc_code::invalid_argument, "the terminal has no size");
  auto columns = get_int(*size, "cols");
  auto rows = get_int(*size, "rows");
  if (columns < 0 || columns > 65535 || rows < 0 || rows > 65535)
    fail(rpc_code::invalid_argument, "the size of the terminal is out of range");
  return {static_cast<unsigned short>(columns), static_cast<unsigned short>(rows)};
}

const json& process_of(const json& request) {
  const auto* p = find(request, "process");
  if (!p) fail(rpc_code::invalid_argument, "the request names no process");
  return *p;
}

void refuse_nul(const std::string& text, const char* what) {
  if (text.find('\0') != std::string::npos)
    fail(rpc_code::invalid_argument, std::string{what} + " contains a NUL");
}

spawn_request to_spawn(const account& user, const json& request) {
  const auto& config = process_of(request);
  spawn_request out;
  out.program = get_string(config, "cmd");
  refuse_nul(out.program, "cmd");
  if (const auto* args = find(config, "args")) {
    if (!args->is_array()) fail(rpc_code::invalid_argument, "args is no list");
    for (const auto& a : *args) {
      if (!a.is_string()) fail(rpc_code::invalid_argument, "args holds something that is no text");
      out.arguments.push_back(a.get<std::string>());
      refuse_nul(out.arguments.back(), "args");
    }
  }
  std::vector<std::pair<std::string, std::string>> extra;
  if (const auto* envs = find(config, "envs")) {
    if (!envs->is_object()) fail(rpc_code::invalid_argument, "envs is no map");
    for (const auto& [name, value] : envs->items()) {
      if (!value.is_string())
        fail(rpc_code::invalid_argument, "envs holds something that is no text");
      extra.emplace_back(name, value.get<std::string>());
      refuse_nul(name, "envs");
      refuse_nul(extra.back().second, "envs");
    }
  }
  out.environment = user.environment(extra);
  if (!user.resolve(get_string(config, "cwd"), out.directory))
    fail(rpc_code::invalid_argument, "cwd is no path");
  struct stat st {};
  if (::stat(out.directory.c_str(), &st) != 0)
    fail(rpc_code::invalid_argument, "cwd '" + out.directory + "' does not exist");
  if (!S_ISDIR(st.st_mode))
    fail(rpc_code::invalid_argument, "cwd '" + out.directory + "' is not a directory");
  if (const auto* pty = find(request, "pty")) {
    out.terminal = true;
    out.size = size_of(*pty);
  }
  out.stdin_pipe = get_bool(request, "stdin", true);
  return out;
}

/// The ProcessConfig that List shows: what was asked for, without defaults.
json config_of(const json& request) {
  const auto& asked = process_of(request);
  json out = json::object();
  for (const char* name : {"cmd", "args", "envs", "cwd"})
    if (const auto* v = find(asked, name); v && !v->empty() && *v != "") out[name] = *v;
  return out;
}

} // namespace

task<void> process_start(services& s, exchange& x, json request) {
  auto limit = time_allowed(x);
  auto spawning = to_spawn(s.user, request);
  auto p = s.processes.start(spawning, config_of(request), get_optional_string(request, "tag"));
  if (limit) p->kill_after(*limit);
  auto l = p->attach();
  p->run();
  stream_terms terms{.limit = limit, .time = s.time, .keepalive = event_keepalive()};
  terms.overdue = [p] { return p->killed_late(); };
  terms.ending = [p] { return p->has_exited() && !p->killed_late(); };
  co_await stream_feed(x, p->feed(), l, terms);
}

task<void> process_connect(services& s, exchange& x, json request) {
  auto limit = time_allowed(x);
  auto p = s.processes.find(process_of(request), true);
  auto l = p->attach();
  stream_terms terms{.limit = limit, .time = s.time, .keepalive = event_keepalive()};
  co_await stream_feed(x, p->feed(), l, terms);
}

task<json> process_list(services& s, json) {
  json list = json::array();
  for (const auto& p : s.processes.running()) {
    json one{{"config", p->config()}, {"pid", p->pid()}};
    if (p->tag()) one["tag"] = *p->tag();
    list.push_back(std::move(one));
  }
  json out = json::object();
  if (!list.empty()) out["processes"] = std::move(list);
  co_return out;
}

task<json> process_update(services& s, json request) {
  auto p = s.processes.find(process_of(request), false);
  if (const auto* pty = find(request, "pty"))
    if (!p->resize(size_of(*pty))) fail(rpc_code::internal, "the process has no tty");
  co_return json::object();
}

task<json> process_send_input(services& s, json request) {
  auto p = s.processes.find(process_of(request), false);
  const auto* input = find(request, "input");
  if (!input) fail(rpc_code::invalid_argument, "the request holds no input");
  bool to_terminal = find(*input, "pty") != nullptr;
  auto data = get_bytes(*input, to_terminal ? "pty" : "stdin");
  co_await p->write_input(std::move(data), to_terminal);
  co_return json::object();
}

task<json> process_send_signal(services& s, json request) {
  auto p = s.processes.find(process_of(request), false);
  auto signal = requested_signal(request);
  // Exited, but its pipes are still held by others: nothing to signal, and nobody waits any longer.
  if (!p->signal(signal)) p->stop_waiting();
  co_return json::object();
}

task<json> process_close_stdin(services& s, json request) {
  s.processes.find(process_of(request), false)->close_input();
  co_return json::object();
}

} // namespace skep::envd
