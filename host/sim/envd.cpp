#include "host/sim/envd.hpp"

#include "host/envd/connect_rpc.hpp"
#include "host/envd/signature.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace skep::host::sim {
namespace {

using envd::rpc_code;
using envd::rpc_failure;
using envd::stream_type;

constexpr std::string_view json_type = "application/json";
constexpr std::size_t rpc_limit_bytes = 16u << 20;

// -- streams --------------------------------------------------------------------------------------

/// Writes envelopes to the client, unless they meet their mishap.
class event_writer {
public:
  event_writer(envd_call& c)
      : c_(c), luck_(c.where->world.seed, "repeat", c.where->info.sandbox_id, c.mishap.number) {}

  task<void> write(std::shared_ptr<const std::string> text) {
    co_await write_once(*text);
    bool is_data = text->find("\"data\"") != text->npos;
    if (is_data && luck_.percent(c_.mishap.repeat_percent)) co_await write_once(*text);
  }

private:
  task<void> write_once(std::string_view text) {
    auto& cut = c_.mishap.cut_after_bytes;
    if (cut && *cut < text.size()) {
      co_await c_.x.write(text.substr(0, *cut));
      throw envd::peer_gone{}; // the connection closes without the end of the body
    }
    if (cut) *cut -= text.size();
    co_await c_.x.write(text);
  }
  envd_call& c_;
  draw luck_;
};

task<void> stream_events(envd_call& c, std::shared_ptr<process> p,
                         std::shared_ptr<envd::event_queue> l,
                         std::optional<std::chrono::milliseconds> limit, bool starts) {
  static const envd::pause_clock time; // no simulated pause stops a deadline
  event_writer out{c};
  envd::stream_terms terms{.limit = limit, .time = time, .keepalive = envd::event_keepalive()};
  terms.write = [&out](std::shared_ptr<const std::string> text) { return out.write(text); };
  terms.cut = [&c] { return c.where->dead; };
  if (starts) terms.overdue = [p] { return p->killed_late(); };
  co_await envd::stream_feed(c.x, p->feed(), l, terms);
}

// -- process.Process ------------------------------------------------------------------------------

const json& process_of(const json& request) {
  const auto* p = envd::find(request, "process");
  if (!p) envd::fail(rpc_code::invalid_argument, "the request names no process");
  return *p;
}

program_ptr to_program(box& b, const json& request) {
  const auto& config = process_of(request);
  auto p = std::make_shared<program>(b.shared_from_this(), b.world.io);
  p->argv.push_back(envd::get_string(config, "cmd"));
  if (p->argv[0].empty()) envd::fail(rpc_code::invalid_argument, "cmd is empty");
  if (const auto* args = envd::find(config, "args")) {
    if (!args->is_array()) envd::fail(rpc_code::invalid_argument, "args is no list");
    for (const auto& a : *args) {
      if (!a.is_string()) envd::fail(rpc_code::invalid_argument, "args holds what is no text");
      p->argv.push_back(a.get<std::string>());
    }
  }
  p->env = b.environment();
  if (const auto* envs = envd::find(config, "envs")) {
    string_map extra;
    if (!read_string_map(*envs, extra))
      envd::fail(rpc_code::invalid_argument, "envs is no map of texts");
    for (auto& [name, value] : extra)
      p->env[name] = value;
  }
  p->cwd = normal_path(home_path, envd::get_string(config, "cwd"));
  if (!b.files.is_directory(p->cwd))
    envd::fail(rpc_code::invalid_argument, "cwd '" + p->cwd + "' does not exist");
  return p;
}

task<void> start(envd_call& c, json request) {
  auto limit = envd::time_allowed(c.x);
  auto what = to_program(*c.where, request);
  bool terminal = envd::find(request, "pty") != nullptr;
  auto p = c.where->processes.start(std::move(what), process_of(request),
                                    envd::get_optional_string(request, "tag"), terminal,
                                    envd::get_bool(request, "stdin", true));
  if (limit) p->kill_after(*limit);
  auto l = p->attach();
  p->run();
  co_await stream_events(c, p, l, limit, true);
}

task<void> connect(envd_call& c, json request) {
  auto limit = envd::time_allowed(c.x);
  auto p = c.where->processes.find(process_of(request), true);
  auto l = p->attach();
  co_await stream_events(c, p, l, limit, false);
}

void take_input(box& b, const json& selector, const json& request) {
  auto p = b.processes.find(selector, false);
  const auto* input = envd::find(request, "input");
  if (!input) envd::fail(rpc_code::invalid_argument, "the request holds no input");
  bool to_terminal = envd::find(*input, "pty") != nullptr;
  p->write_input(envd::get_bytes(*input, to_terminal ? "pty" : "stdin"), to_terminal);
}

/// Client streaming: {start}, then {data} and {keepalive}; the answer is one message.
task<void> stream_input(envd_call& c) {
  auto body = co_await c.x.body(rpc_limit_bytes);
  json selector;
  for (std::size_t at = 0; at < body.size();) {
    if (body.size() - at < 5) envd::fail(rpc_code::invalid_argument, "a cut envelope");
    std::uint32_t size = 0;
    for (std::size_t i = 1; i < 5; ++i)
      size = size << 8 | static_cast<std::uint8_t>(body[at + i]);
    if (size > body.size() - at - 5) envd::fail(rpc_code::invalid_argument, "a cut envelope");
    auto message = envd::parse_enveloped(std::string_view{body}.substr(at, 5 + size));
    at += 5 + size;
    if (const auto* first = envd::find(message, "start")) selector = process_of(*first);
    if (const auto* data = envd::find(message, "data")) take_input(*c.where, selector, *data);
  }
  co_await c.x.begin_stream(200, stream_type);
  auto text = envd::envelope(0, "{}") + envd::end_of_stream();
  co_await c.x.write(text);
  co_await c.x.end_stream();
}

json list(box& b, const json&) {
  json all = json::array();
  for (const auto& p : b.processes.running()) {
    json one{{"config", p->config()}, {"pid", p->pid()}};
    if (p->tag()) one["tag"] = *p->tag();
    all.push_back(std::move(one));
  }
  json out = json::object();
  if (!all.empty()) out["processes"] = std::move(all);
  return out;
}

json update(box& b, const json& request) {
  if (!b.processes.find(process_of(request), false)->terminal())
    envd::fail(rpc_code::internal, "the process has no tty");
  return json::object();
}

json send_input(box& b, const json& request) {
  take_input(b, process_of(request), request);
  return json::object();
}

json send_signal(box& b, const json& request) {
  b.processes.find(process_of(request), false)->signal(envd::requested_signal(request));
  return json::object();
}

json close_stdin(box& b, const json& request) {
  b.processes.find(process_of(request), false)->close_input();
  return json::object();
}

// -- routing --------------------------------------------------------------------------------------

using unary = json (*)(box&, const json&);
const std::map<std::string_view, unary> unary_calls = {
    {"/process.Process/List", list},
    {"/process.Process/Update", update},
    {"/process.Process/SendInput", send_input},
    {"/process.Process/SendSignal", send_signal},
    {"/process.Process/CloseStdin", close_stdin},
    {"/filesystem.Filesystem/Stat", files_stat},
    {"/filesystem.Filesystem/ListDir", files_list},
    {"/filesystem.Filesystem/MakeDir", files_make_dir},
    {"/filesystem.Filesystem/Move", files_move},
    {"/filesystem.Filesystem/Remove", files_remove},
};

const std::set<std::string_view> unsimulated = {
    "/filesystem.Filesystem/WatchDir",
    "/filesystem.Filesystem/CreateWatcher",
    "/filesystem.Filesystem/GetWatcherEvents",
    "/filesystem.Filesystem/RemoveWatcher",
};

void check_user(const exchange& x) {
  auto name = envd::requested_user(x.path(), x.header("Authorization"));
  if (name && !known_user(*name))
    envd::fail(rpc_code::unauthenticated, "invalid username: '" + *name + "'");
}

task<void> serve_unary(envd_call& c, unary call) {
  std::optional<rpc_failure> failure;
  std::string body;
  try {
    check_user(c.x);
    auto text = co_await c.x.body(rpc_limit_bytes);
    body = envd::dump(call(*c.where, envd::parse_message(text)));
  } catch (rpc_failure& f) {
    failure = std::move(f);
  }
  if (failure) body = envd::error_json(*failure);
  co_await c.x.reply(failure ? envd::http_status(failure->code) : 200, json_type, body);
}

task<void> serve_stream(envd_call& c) {
  std::optional<rpc_failure> failure;
  try {
    check_user(c.x);
    if (c.x.path() == "/process.Process/StreamInput") {
      co_await stream_input(c);
      co_return;
    }
    auto text = co_await c.x.body(rpc_limit_bytes);
    auto request = envd::parse_enveloped(text);
    if (c.x.path() == "/process.Process/Start")
      co_await start(c, std::move(request));
    else
      co_await connect(c, std::move(request));
  } catch (rpc_failure& f) {
    failure = std::move(f);
  }
  if (!failure) co_return;
  if (!c.x.answered()) co_await c.x.begin_stream(200, stream_type);
  auto end = envd::end_of_stream(*failure);
  co_await c.x.write(end);
  co_await c.x.end_stream();
}

} // namespace

json usage_figures(const box& b) {
  draw luck{b.world.seed, "metrics", b.info.sandbox_id, 0};
  constexpr std::int64_t mib = 1 << 20;
  auto used = static_cast<std::int64_t>(64 + luck.unit() * 256);
  return {{"ts", wall_now_ms() / 1000}, {"cpu_count", 2},       {"cpu_used_pct", 5 * luck.unit()},
          {"mem_total_mib", 1024},      {"mem_used_mib", used}, {"mem_total", 1024 * mib},
          {"mem_used", used * mib},     {"mem_cache", 0},       {"disk_used", 0},
          {"disk_total", 1024 * mib}};
}

namespace {

task<void> route(envd_call& c) {
  auto& x = c.x;
  auto method = x.method();
  const auto path = x.path();
  bool get = method == "GET" || method == "HEAD";
  if (method == "OPTIONS") {
    co_await x.reply(204, {}, {}, envd::preflight_headers);
    co_return;
  }
  envd::authorize(x, c.where->info.access_token);
  bool stream = path == "/process.Process/Start" || path == "/process.Process/Connect"
                || path == "/process.Process/StreamInput";
  auto call = unary_calls.find(path);
  if (stream || call != unary_calls.end()) {
    auto wanted = stream ? stream_type : json_type;
    if (method != "POST")
      co_await x.reply(405, {}, {}, "Allow: POST\r\n");
    else if (!x.header("Content-Type").starts_with(wanted))
      co_await x.reply(415, {}, {}, "Accept-Post: " + std::string{wanted} + "\r\n");
    else if (stream)
      co_await serve_stream(c);
    else
      co_await serve_unary(c, call->second);
  } else if (unsimulated.contains(path)) {
    envd::rpc_failure f{rpc_code::unimplemented, path + " is not part of the simulation"};
    auto body = envd::error_json(f);
    co_await x.reply(501, json_type, body);
  } else if (path == "/health" && get) {
    co_await x.reply(204, {}, {}, "Cache-Control: no-store\r\n");
  } else if (path == "/files" && get) {
    co_await files_get(c);
  } else if (path == "/files" && method == "POST") {
    co_await files_post(c);
  } else if (path == "/files/compose" && method == "POST") {
    co_await files_compose(c);
  } else if (path == "/metrics" && get) {
    auto body = dump(usage_figures(*c.where));
    co_await x.reply(200, json_type, body);
  } else if (path == "/envs" && get) {
    json all = c.where->env_vars;
    auto body = dump(all);
    co_await x.reply(200, json_type, body);
  } else {
    co_await x.reply(404, "text/plain; charset=utf-8", "404 page not found\n");
  }
}

} // namespace

task<void> answer_envd(envd_call& c) {
  std::optional<envd::rest_failure> failure;
  try {
    co_await route(c);
  } catch (envd::rest_failure& f) {
    failure = std::move(f);
  }
  if (!failure) co_return;
  if (c.x.answered()) throw envd::peer_gone{};
  auto body = envd::dump(json{{"code", failure->status}, {"message", failure->message}}) + "\n";
  co_await c.x.reply(failure->status, "application/json; charset=utf-8", body,
                     "X-Content-Type-Options: nosniff\r\n");
}

} // namespace skep::host::sim
