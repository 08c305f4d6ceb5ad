#include "host/server.hpp"

#include "host/accept.hpp"
#include "host/port_channel.hpp"
#include "host/posix.hpp"
#include "host/privileges.hpp"
#include "host/relay.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace skep::host {
namespace {

constexpr std::string_view envd_port = "49983";
/// Routes of envd that only the control plane may use.
constexpr std::array<std::string_view, 7> control_plane_routes = {
    "/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade"};

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |=
        static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(i < b.size() ? b[i] : 0);
  return difference == 0;
}

std::string host_without_port(std::string_view host) {
  if (host.starts_with('[')) return std::string{host.substr(0, host.find(']') + 1)};
  return std::string{host.substr(0, host.find(':'))};
}

bool is_loopback_name(std::string_view host) {
  return host == "localhost" || host == "[::1]"
         || (host.starts_with("127.")
             && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

bool is_address_like(std::string_view host) {
  return host.empty() || host == "localhost" || host.starts_with('[')
         || host.starts_with("sandbox.")
         || host.find_first_not_of("0123456789.") == std::string_view::npos;
}

std::string path_of(const request_reader& reader) {
  auto target = text_of(reader.get().target());
  return target.substr(0, target.find('?'));
}

// An answer of the proxy itself (e2b-protocol: "Proxy errors").
api_reply proxy_error(unsigned status, json j) {
  j["code"] = status;
  return {status, dump(j), {{"Content-Type", "application/json; charset=utf-8"}}};
}

api_reply sandbox_gone(const std::string& id) {
  return proxy_error(502, {{"sandboxId", id}, {"message", "The sandbox was not found"}});
}

} // namespace

task<void> allow_body(client_connection& client, const request_reader& reader) {
  if (reader.is_done() || reader.get().version() < 11) co_return;
  static constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
  error_code ec;
  co_await asio::async_write(client.stream, asio::buffer(text.data(), text.size()), into(ec));
}

server::server(asio::io_context& io, driver& sandboxes, control_api& api,
               std::vector<std::string> keys, server_policy policy)
    : io_(io), sandboxes_(sandboxes), api_(api), keys_(std::move(keys)), policy_(policy),
      acceptor_(io), creates_(policy.create_rate), controls_(policy.control_rate),
      most_connections_(policy.connections > 0
                            ? policy.connections
                            : default_connections(open_file_limit(), policy.files_each)) {}

result<std::string> server::listen(const std::string& address, bool loopback_only) {
  auto colon = address.rfind(':');
  unsigned port = 0;
  auto port_text = colon == address.npos ? std::string{} : address.substr(colon + 1);
  auto [end, bad] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  auto host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  error_code ec;
  auto ip = asio::ip::make_address(host, ec);
  if (ec || bad != std::errc{} || end != port_text.data() + port_text.size() || port > 65535)
    return make_error(errc::bad_argument, "--listen " + address + ": expected ADDRESS:PORT");
  if (loopback_only && !ip.is_loopback())
    return make_error(errc::bad_argument, "without a key file the host listens on loopback only");
  tcp::endpoint endpoint{ip, static_cast<std::uint16_t>(port)};
  acceptor_.open(endpoint.protocol(), ec);
  if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor_.bind(endpoint, ec);
  if (!ec) acceptor_.listen(4096, ec);
  if (ec) return make_error(errc::bad_argument, "--listen " + address, ec.message());
  set_cloexec(acceptor_.native_handle(), true);
  endpoint = acceptor_.local_endpoint(ec);
  auto name = ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string();
  return "http://" + name + ":" + std::to_string(endpoint.port());
}

void server::start() {
  spawn(io_, accept());
}

task<void> server::accept() {
  accept_guard guard{io_};
  for (;;) {
    tcp::socket socket{io_};
    error_code ec;
    co_await acceptor_.async_accept(socket, into(ec));
    if (ec == asio::error::operation_aborted) co_return;
    if (ec) {
      co_await guard.failed(acceptor_, ec);
      continue;
    }
    guard.accepted();
    set_cloexec(socket.native_handle(), true);
    if (connections_ >= most_connections_) {
      refuse(std::move(socket));
      continue;
    }
    socket.set_option(tcp::no_delay(true), ec);
    spawn(io_, serve(std::move(socket)));
  }
}

// What fits into the socket's buffer at once: nobody waits for a client that is turned away.
void server::refuse(tcp::socket socket) {
  static constexpr std::string_view text =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
      "Connection: close\r\nContent-Length: 55\r\n\r\n"
      "{\"code\":503,\"message\":\"the host has too many clients\"}\n";
  static_assert(text.substr(text.find("\r\n\r\n") + 4).size() == 55);
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(text.data(), text.size()), ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

std::size_t default_connections(unsigned long open_files, unsigned long files_each) {
  auto left = open_files > 512 ? open_files - 512 : 0;
  return static_cast<std::size_t>(std::clamp(left / files_each, 64ul, 20'000ul));
}

task<void> server::serve(tcp::socket socket) {
  struct place {
    explicit place(std::size_t& n) : count(n) { ++count; }
    ~place() { --count; }
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    std::size_t& count;
  } mine{connections_};
  client_connection client{beast::tcp_stream{std::move(socket)}, {}};
  for (bool more = true; more;) {
    request_reader reader;
    reader.header_limit(policy_.header_limit_bytes);
    reader.body_limit(no_body_limit);
    client.stream.expires_after(policy_.idle);
    error_code ec;
    co_await http::async_read_header(client.stream, client.buffer, reader, into(ec));
    if (ec == http::error::header_limit) {
      auto answer = api_error(431, "the request's header is too large");
      co_await reply(client, reader, std::move(answer));
      break;
    }
    if (ec && ec != http::error::end_of_stream && ec != http::error::partial_message
        && ec.category() == http::make_error_code(http::error::bad_method).category()) {
      auto answer = api_error(400, "malformed request: " + ec.message());
      co_await reply(client, reader, std::move(answer));
    }
    if (ec) break;
    ++active_;
    more = co_await serve_one(client, reader);
    --active_;
    last_use_ = std::chrono::steady_clock::now();
    if (!more && !reader.is_done()) co_await linger(client);
  }
  error_code ignored;
  client.stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
}

// A client that still sends would get a reset and lose the answer: take its bytes for a while.
task<void> server::linger(client_connection& client) {
  error_code ec;
  client.stream.socket().shutdown(tcp::socket::shutdown_send, ec);
  client.stream.expires_after(policy_.linger);
  auto block = std::make_unique<std::array<char, 65536>>();
  while (!ec)
    co_await client.stream.async_read_some(asio::buffer(*block), into(ec));
}

task<bool> server::serve_one(client_connection& client, request_reader& reader) {
  if (!ready_) {
    auto answer = api_error(503, "The host is re-adopting its sandboxes. Try again in a moment.");
    co_return co_await reply(client, reader, std::move(answer));
  }
  auto to = route(reader);
  if (!to.refusal.empty()) {
    api_reply answer{400, to.refusal, {{"Content-Type", "text/plain; charset=utf-8"}}};
    co_return co_await reply(client, reader, std::move(answer));
  }
  if (!rehearsal_) co_return co_await serve_routed(client, reader, std::move(to));
  auto what =
      rehearsal_->befall({text_of(reader.get().method_string()), path_of(reader), to.sandbox_id});
  auto over = co_await befall(client, reader, what);
  if (over) co_return *over;
  bool more = co_await serve_routed(client, reader, std::move(to), what.lose_answer);
  co_return more;
}

task<bool> server::serve_routed(client_connection& client, request_reader& reader, target to,
                                mishap::loss lost) {
  if (to.to_sandbox) co_return co_await proxy(client, reader, std::move(to));
  co_return co_await control(client, reader, lost);
}

// What the client still sends is taken; its end is the end.
task<void> server::outlast(client_connection& client) {
  std::array<char, 4096> block;
  error_code ec;
  while (!ec)
    co_await client.stream.async_read_some(asio::buffer(block), into(ec));
}

// What is to happen before or instead of serving; nothing when the request is to be served.
task<std::optional<bool>> server::befall(client_connection& client, request_reader& reader,
                                         const mishap& what) {
  error_code ec;
  client.stream.expires_never();
  if (what.delay.count() > 0) {
    asio::steady_timer timer{io_, what.delay};
    co_await timer.async_wait(into(ec));
  }
  if (what.hang) {
    co_await outlast(client);
    co_return false;
  }
  if (what.instead) co_return co_await reply(client, reader, *what.instead);
  co_return std::nullopt;
}

server::target server::route(const request_reader& reader) const {
  const auto& header = reader.get();
  target to;
  auto has_id = header.count("E2b-Sandbox-Id") > 0, has_port = header.count("E2b-Sandbox-Port") > 0;
  auto host = host_without_port(text_of(header[http::field::host]));
  if (has_id || has_port) {
    if (!has_id || !has_port) {
      to.refusal = "missing header";
      return to;
    }
    to.sandbox_id = text_of(header["E2b-Sandbox-Id"]);
    to.port = text_of(header["E2b-Sandbox-Port"]);
  } else {
    // PORT-ID.domain; any other name is the host's own.
    auto label = host.substr(0, host.find('.'));
    auto dash = label.find('-');
    if (is_address_like(host) || dash == label.npos
        || label.substr(0, dash).find_first_not_of("0123456789") != label.npos)
      return to;
    to.port = label.substr(0, dash);
    to.sandbox_id = label.substr(dash + 1);
  }
  to.to_sandbox = true;
  to.sandbox_id = to.sandbox_id.substr(0, to.sandbox_id.find('-'));
  if (!valid_sandbox_id(to.sandbox_id))
    to.refusal = "Invalid sandbox ID";
  else if (to.port.empty() || to.port.size() > 5
           || to.port.find_first_not_of("0123456789") != to.port.npos)
    to.refusal = "Invalid sandbox port";
  return to;
}

task<bool> server::proxy(client_connection& client, request_reader& reader, target to) {
  bool keep = false;
  auto answer = co_await relay_to(client, reader, to, keep);
  // No status: the sandbox has answered itself.
  if (answer.status == 0) co_return keep;
  co_return co_await reply(client, reader, std::move(answer));
}

// The proxy's own answer, or one with status 0 when the request was relayed.
task<api_reply> server::relay_to(client_connection& client, request_reader& reader,
                                 const target& to, bool& keep) {
  const auto& id = to.sandbox_id;
  bool to_envd = to.port == envd_port;
  auto sent = path_of(reader);
  auto path = url_decode(sent).value_or(sent); // as envd will read it
  if (to_envd
      && std::find(control_plane_routes.begin(), control_plane_routes.end(), path)
             != control_plane_routes.end())
    co_return proxy_error(404, {{"message", "This endpoint is reserved for the E2B control plane "
                                            "and is not reachable through the sandbox URL"},
                                {"path", path}});
  if (sandboxes_.unknown(id))
    co_return proxy_error(503, {{"message", "The host has not heard from this sandbox yet"}});
  const auto* there = sandboxes_.find(id);
  if (!there) co_return sandbox_gone(id);
  auto phase = there->phase;
  if (phase == sandbox_phase::pausing || phase == sandbox_phase::resuming)
    co_return proxy_error(
        409, {{"sandboxId", id},
              {"message", "The sandbox is still transitioning. Try again in a moment."}});
  if (!to_envd && !there->traffic_token.empty()
      && !equal_in_constant_time(there->traffic_token,
                                 text_of(reader.get()["e2b-traffic-access-token"])))
    co_return proxy_error(
        403, {{"sandboxId", id}, {"message", "The traffic access token is missing or wrong"}});
  if (phase == sandbox_phase::paused) {
    if (!there->auto_resume) co_return sandbox_gone(id);
    if (auto r = co_await api_.resume_for_traffic(id); !r) {
      const auto& why = r.err();
      if (why.code != errc::quota && why.code != errc::capacity) co_return sandbox_gone(id);
      co_return proxy_error(why.code == errc::quota ? 429 : 503,
                            {{"sandboxId", id}, {"message", why.message}});
    }
  }
  if (rehearsal_ && to_envd) {
    keep = co_await rehearsal_->serve_envd(id, client, reader);
    co_return api_reply{0, {}, {}};
  }
  auto channel = co_await sandboxes_.connect_envd(id);
  if (channel && !to_envd) {
    auto number = static_cast<unsigned>(std::stoul(to.port));
    auto opened = co_await open_port(std::move(*channel), number, policy_.port);
    channel = std::move(opened);
  }
  if (!channel) {
    if (channel.err().code == errc::timed_out || channel.err().code == errc::capacity)
      co_return proxy_error(503, {{"message", "The sandbox is busy"}});
    if (channel.err().code == errc::refused)
      co_return proxy_error(502, {{"sandboxId", id},
                                  {"message", "The sandbox is running but port is not open"},
                                  {"port", std::stoi(to.port)}});
    co_return sandbox_gone(id);
  }
  auto end = co_await relay(io_, client, reader, std::move(*channel));
  if (end == relay_end::no_answer) co_return sandbox_gone(id);
  keep = end == relay_end::reusable;
  co_return api_reply{0, {}, {}};
}

api_reply server::check_key(const request_reader& reader) const {
  const auto& header = reader.get();
  if (keys_.empty()) {
    // No key guards this host, so no web page may speak to it: not across origins, and not by a
    // name that was made to point here.
    if (header.count(http::field::origin) > 0)
      return api_error(403, "requests of web pages are refused");
    auto host = host_without_port(text_of(header[http::field::host]));
    if (!host.empty() && !is_loopback_name(host))
      return api_error(403, "this host answers to loopback names only");
    return {};
  }
  auto given = header["X-API-KEY"];
  bool good = false;
  for (const auto& key : keys_)
    good |= equal_in_constant_time(key, {given.data(), given.size()});
  return good ? api_reply{} : api_error(401, "Invalid API key");
}

task<bool> server::control(client_connection& client, request_reader& reader, mishap::loss lost) {
  api_request request;
  request.method = text_of(reader.get().method_string());
  request.path = path_of(reader);
  auto whole = text_of(reader.get().target());
  if (auto mark = whole.find('?'); mark != whole.npos) request.query = whole.substr(mark + 1);
  if (request.path != "/health") {
    auto refusal = check_key(reader);
    if (refusal.status != 200) co_return co_await reply(client, reader, std::move(refusal));
  }
  rate_limiter::verdict limited;
  if (request.path != "/health") {
    bool creates = request.method == "POST"
                   && (request.path == "/sandboxes" || request.path == "/v2/sandboxes");
    auto key = text_of(reader.get()["X-API-KEY"]);
    // Without a key file anybody may send any key: then all are one.
    limited = (creates ? creates_ : controls_)
                  .take(keys_.empty() ? std::string{} : key, std::chrono::steady_clock::now());
  }
  client.stream.expires_after(policy_.body);
  if (beast::iequals(reader.get()[http::field::expect], "100-continue"))
    co_await allow_body(client, reader);
  std::array<char, 16384> piece;
  std::size_t taken = 0;
  while (!reader.is_done() && taken <= policy_.refused_body_bytes) {
    reader.get().body().data = piece.data();
    reader.get().body().size = piece.size();
    error_code ec;
    co_await http::async_read_some(client.stream, client.buffer, reader, into(ec));
    if (ec == http::error::need_buffer) ec = {};
    if (ec) co_return false;
    auto n = piece.size() - reader.get().body().size;
    taken += n;
    if (taken <= policy_.body_limit_bytes) request.body.append(piece.data(), n);
  }
  if (taken > policy_.body_limit_bytes) {
    auto answer = api_error(413, "the request is too large");
    co_return co_await reply(client, reader, std::move(answer));
  }
  client.stream.expires_never();
  // No conditional expression over co_await: GCC 12 destroys its temporaries twice.
  api_reply answer;
  if (limited.allowed) {
    auto handled = co_await api_.handle(std::move(request));
    answer = std::move(handled);
  } else {
    answer = api_error(429, "Rate limit exceeded");
  }
  answer.headers.insert(answer.headers.end(), limited.headers.begin(), limited.headers.end());
  if (lost == mishap::loss::silent) co_await outlast(client);
  if (lost != mishap::loss::none) co_return false;
  co_return co_await reply(client, reader, std::move(answer));
}

task<bool> server::reply(client_connection& client, const request_reader& reader,
                         api_reply answer) {
  bool keep = reader.is_done() && reader.get().keep_alive();
  http::response<http::string_body> response;
  response.version(11);
  response.result(answer.status);
  if (!answer.body.empty()) response.set(http::field::content_type, "application/json");
  for (const auto& [name, value] : answer.headers)
    response.set(name, value);
  response.keep_alive(keep);
  bool head = reader.get().method() == http::verb::head;
  if (answer.status != 204) response.content_length(answer.body.size());
  if (!head) response.body() = std::move(answer.body);
  client.stream.expires_after(policy_.body);
  error_code ec;
  co_await http::async_write(client.stream, response, into(ec));
  co_return keep && !ec;
}

} // namespace skep::host
