#include "host/envd/server.hpp"

#include "host/envd/handlers.hpp"
#include "host/envd/signature.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <csignal>
#include <ctime>
#include <unistd.h>
#include <unordered_map>

namespace skep::envd {

namespace {
constexpr std::string_view json_type = "application/json";
constexpr std::string_view rest_type = "application/json; charset=utf-8";

using unary_handler = task<json> (*)(services&, json);
using stream_handler = task<void> (*)(services&, exchange&, json);
using input_handler = task<json> (*)(services&, exchange&);

/// One of the three is there.
struct rpc {
  unary_handler unary = nullptr;
  stream_handler stream = nullptr;
  input_handler input = nullptr;
};

rpc unary(unary_handler h) {
  return {h, nullptr, nullptr};
}
rpc streaming(stream_handler h) {
  return {nullptr, h, nullptr};
}

const std::unordered_map<std::string_view, rpc> rpcs = {
    {"/process.Process/Start", streaming(process_start)},
    {"/process.Process/Connect", streaming(process_connect)},
    {"/process.Process/List", unary(process_list)},
    {"/process.Process/Update", unary(process_update)},
    {"/process.Process/SendInput", unary(process_send_input)},
    {"/process.Process/SendSignal", unary(process_send_signal)},
    {"/process.Process/CloseStdin", unary(process_close_stdin)},
    {"/process.Process/StreamInput", {nullptr, nullptr, process_stream_input}},
    {"/filesystem.Filesystem/Stat", unary(filesystem_stat)},
    {"/filesystem.Filesystem/ListDir", unary(filesystem_list_dir)},
    {"/filesystem.Filesystem/MakeDir", unary(filesystem_make_dir)},
    {"/filesystem.Filesystem/Move", unary(filesystem_move)},
    {"/filesystem.Filesystem/Remove", unary(filesystem_remove)},
    {"/filesystem.Filesystem/WatchDir", streaming(filesystem_watch_dir)},
    {"/filesystem.Filesystem/CreateWatcher", unary(filesystem_create_watcher)},
    {"/filesystem.Filesystem/GetWatcherEvents", unary(filesystem_get_watcher_events)},
    {"/filesystem.Filesystem/RemoveWatcher", unary(filesystem_remove_watcher)},
};

std::string rest_body(unsigned status, const std::string& message) {
  return dump(json{{"code", status}, {"message", message}}) + "\n";
}

void check_user(const account& user, const exchange& x) {
  auto name = requested_user(x.path(), x.header("Authorization"));
  if (name && !user.known(*name))
    fail(rpc_code::unauthenticated, "invalid username: '" + *name + "'");
}

// `type` without its parameters.
std::string_view media_type(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' '))
    type.remove_suffix(1);
  return type;
}

task<void> serve_unary(services& s, exchange& x, const rpc& r) {
  std::optional<rpc_failure> failure;
  std::string body;
  try {
    check_user(s.user, x);
    auto text = co_await x.body(rpc_limit_bytes);
    auto request = parse_message(text);
    auto answer = co_await r.unary(s, std::move(request));
    body = dump(answer);
  } catch (rpc_failure& f) {
    failure = std::move(f);
  }
  if (failure) body = error_json(*failure);
  co_await x.reply(failure ? http_status(failure->code) : 200, json_type, body);
}

/// Counts a stream of events as long as it is served.
struct open_stream {
  services& s;
  explicit open_stream(services& all) : s(all) { ++s.streams; }
  open_stream(const open_stream&) = delete;
  open_stream& operator=(const open_stream&) = delete;
  ~open_stream() {
    --s.streams;
    s.streams_changed.notify();
  }
};

task<void> serve_stream(services& s, exchange& x, const rpc& r) {
  std::optional<rpc_failure> failure;
  try {
    check_user(s.user, x);
    if (r.stream) {
      auto text = co_await x.body(rpc_limit_bytes);
      auto request = parse_enveloped(text);
      open_stream here(s);
      co_await r.stream(s, x, std::move(request));
    } else {
      auto answer = co_await r.input(s, x);
      auto text = envelope(0, dump(answer)) + end_of_stream();
      co_await x.begin_stream(200, stream_type);
      co_await x.write(text);
      co_await x.end_stream();
    }
  } catch (rpc_failure& f) {
    failure = std::move(f);
  }
  if (!failure) co_return;
  if (!x.answered()) co_await x.begin_stream(200, stream_type);
  auto end = end_of_stream(*failure);
  co_await x.write(end);
  co_await x.end_stream();
}

task<void> serve_rpc(services& s, exchange& x, const rpc& r) {
  auto wanted = r.unary ? json_type : stream_type;
  if (x.method() != "POST") {
    co_await x.reply(405, {}, {}, "Allow: POST\r\n");
  } else if (media_type(x.header("Content-Type")) != wanted) {
    co_await x.reply(415, {}, {}, "Accept-Post: " + std::string{wanted} + "\r\n");
  } else if (r.unary) {
    co_await serve_unary(s, x, r);
  } else {
    co_await serve_stream(s, x, r);
  }
}
} // namespace

server::server(asio::io_context& io, int listening_fd, config c)
    : io_(io), config_(std::move(c)), account_(config_), processes_(io, time_),
      watches_(io, account_), services_{io, config_, account_, processes_, time_, watches_},
      acceptor_(io, asio::local::stream_protocol{}, listening_fd), children_(io, SIGCHLD) {}

void server::start() {
  if (config_.log_events)
    processes_.on_news = [](const json& line) {
      auto text = dump(line) + '\n';
      [[maybe_unused]] auto n = ::write(STDERR_FILENO, text.data(), text.size());
    };
  await_children();
  asio::co_spawn(
      io_, [this] { return accept(); }, asio::detached);
}

void server::await_children() {
  children_.async_wait([this](error_code ec, int) {
    if (ec) return;
    processes_.reap();
    await_children();
  });
}

task<void> server::accept() {
  for (;;) {
    error_code ec;
    auto socket = co_await acceptor_.async_accept(into(ec));
    if (ec) { // out of descriptors: let some go first
      asio::steady_timer pause(io_, accept_pause);
      co_await pause.async_wait(into(ec));
      continue;
    }
    auto shared = std::make_shared<local_socket>(std::move(socket));
    asio::co_spawn(
        io_, [this, shared] { return connection(std::move(*shared)); }, asio::detached);
  }
}

task<void> server::connection(local_socket socket) {
  exchange x(std::move(socket));
  try {
    while (co_await x.next()) {
      co_await handle(x);
      if (!co_await x.finish()) break;
    }
  } catch (const peer_gone&) {
  }
}

task<void> server::handle(exchange& x) {
  std::optional<rest_failure> failure;
  try {
    co_await route(x);
  } catch (rest_failure& f) {
    failure = std::move(f);
  } catch (const std::exception& e) { // no memory, a broken invariant: this request only
    failure = rest_failure{500, std::string{"internal error: "} + e.what()};
  }
  if (!failure) co_return;
  if (x.answered()) throw peer_gone{}; // too late for a status: closing is the only sign left
  auto body = rest_body(failure->status, failure->message);
  co_await x.reply(failure->status, rest_type, body, "X-Content-Type-Options: nosniff\r\n");
}

task<void> server::route(exchange& x) {
  auto method = x.method();
  const auto& path = x.path();
  if (method == "CONNECT") {
    co_await connect_port(services_, x);
    co_return;
  }
  if (method == "OPTIONS") {
    co_await x.reply(204, {}, {}, preflight_headers);
    co_return;
  }
  bool get = method == "GET" || method == "HEAD";
  authorize(x, config_.access_token);
  if (auto i = rpcs.find(path); i != rpcs.end()) {
    co_await serve_rpc(services_, x, i->second);
  } else if (path == "/health" && get) {
    co_await x.reply(204, {}, {}, "Cache-Control: no-store\r\n");
  } else if (path == "/files" && get) {
    co_await files_get(services_, x);
  } else if (path == "/files" && method == "POST") {
    co_await files_post(services_, x);
  } else if (path == "/files/compose" && method == "POST") {
    co_await files_compose(services_, x);
  } else if (path == "/init" && method == "POST") {
    co_await init_post(services_, x);
  } else if (path == "/freeze" && method == "POST") {
    co_await freeze_post(services_, x);
  } else if (path == "/unfreeze" && method == "POST") {
    co_await unfreeze_post(services_, x);
  } else if (path == "/metrics" && get) {
    co_await metrics_get(services_, x);
  } else if (path == "/envs" && get) {
    co_await envs_get(services_, x);
  } else {
    co_await x.reply(404, "text/plain; charset=utf-8", "404 page not found\n");
  }
}

} // namespace skep::envd
