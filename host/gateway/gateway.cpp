#include "host/gateway/gateway.hpp"

#include "host/gateway/account.hpp"
#include "host/gateway/tunnel.hpp"
#include "messages/json.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>

#include <array>
#include <limits>
#include <set>
#include <stdexcept>

namespace skep::host {

using namespace gate;

namespace {
constexpr std::size_t discard_limit_bytes = 1U << 20;
constexpr std::chrono::seconds accept_pause{1};

constexpr refusal malformed{400, "invalid_request_error", "gateway: the request is malformed"};
constexpr refusal bad_method{405, "invalid_request_error", "gateway: this method is not allowed"};
constexpr refusal bad_authority{400, "invalid_request_error",
                                "gateway: CONNECT takes HOST:PORT, as a name or an address"};
constexpr refusal too_many_tunnels{429, "rate_limit_error",
                                   "gateway: too many connections are open at a time"};

std::string fault_of_all(const gateway_access& access) {
  for (const auto& rule : access.rules)
    if (auto fault = fault_of(rule); !fault.empty()) return fault;
  return fault_of(access.tunnels);
}

std::shared_ptr<const gateway_access> checked(gateway_access access) {
  if (auto fault = fault_of_all(access); !fault.empty())
    throw std::invalid_argument("gateway: " + fault);
  return std::make_shared<const gateway_access>(std::move(access));
}

bool allowed_method(http::verb v) {
  switch (v) {
  case http::verb::get:
  case http::verb::head:
  case http::verb::post:
  case http::verb::put:
  case http::verb::patch:
  case http::verb::delete_:
  case http::verb::options:
    return true;
  default:
    return false;
  }
}
} // namespace

struct gateway::state : std::enable_shared_from_this<gateway::state> {
  state(asio::io_context& i, int fd, std::shared_ptr<const gateway_access> a, gateway_policy p,
        price_table prices)
      : io(i), acceptor(i, asio::local::stream_protocol{}, fd), access(std::move(a)), policy(p),
        spend(std::move(prices)) {}

  task<void> accept();
  task<void> serve(std::shared_ptr<client> c);
  task<bool> read_header(client& c);
  task<void> answer(client& c, refusal why);
  task<void> discard(client& c);
  task<std::optional<refusal>> handle(std::shared_ptr<client> c);
  task<std::optional<refusal>> proxy(std::shared_ptr<client> c);
  task<std::optional<refusal>> open_tunnel(std::shared_ptr<client> c);

  asio::io_context& io;
  asio::local::stream_protocol::acceptor acceptor;
  std::shared_ptr<const gateway_access> access; // replaced as a whole; whoever waits keeps his own
  gateway_policy policy;
  client_tls tls;
  gateway_counts counts;
  spend_ledger spend;
  forward_context context{io, tls, policy, counts, spend};
  std::set<std::shared_ptr<client>> clients;
  std::set<std::shared_ptr<tunnel>> tunnels;
  bool stopped = false;
  bool revoked = false;
};

task<void> gateway::state::accept() {
  auto self = shared_from_this();
  while (!stopped) {
    error_code ec;
    auto socket = co_await acceptor.async_accept(into(ec));
    if (stopped) break;
    if (ec) { // out of descriptors: let some go first
      asio::steady_timer pause(io, accept_pause);
      co_await pause.async_wait(into(ec));
      continue;
    }
    if (clients.size() >= policy.connections) continue; // closed by leaving
    auto c = std::make_shared<client>(std::move(socket));
    c->buffer.reserve(read_ahead_bytes);
    clients.insert(c);
    asio::co_spawn(
        io, [self, c] { return self->serve(c); }, asio::detached);
  }
}

task<bool> gateway::state::read_header(client& c) {
  c.request.emplace();
  c.request->header_limit(header_limit_bytes);
  c.request->body_limit(std::numeric_limits<std::uint64_t>::max());
  c.answered = false;
  error_code ec;
  {
    watchdog idle(io, policy.client_idle, [&c] {
      error_code ignored;
      c.socket.close(ignored);
    });
    co_await http::async_read_header(c.socket, c.buffer, *c.request, into(ec));
  }
  if (!ec) {
    auto expect = c.request->get()[http::field::expect];
    c.keep_alive = c.request->get().keep_alive();
    c.expects_continue = same_name({expect.data(), expect.size()}, "100-continue");
    co_return true;
  }
  bool foreign = ec.category() == http::make_error_code(http::error::bad_method).category()
                 && ec != http::error::end_of_stream && ec != http::error::partial_message;
  if (foreign && !stopped) {
    c.keep_alive = false;
    co_await answer(c, malformed);
  }
  co_return false;
}

task<void> gateway::state::answer(client& c, refusal why) {
  ++counts.refused;
  if (c.answered || !c.socket.is_open()) {
    c.keep_alive = false;
    co_return;
  }
  json body{{"type", "error"}, {"error", {{"type", why.type}, {"message", why.message}}}};
  auto text = body.dump();
  auto reason = http::obsolete_reason(http::int_to_status(why.status));
  std::string out = "HTTP/1.1 " + std::to_string(why.status) + ' ';
  out.append(reason.data(), reason.size());
  out += "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(text.size())
         + "\r\nx-skep-gateway: 1\r\n";
  // SDKs of model APIs repeat failed requests; a refusal stays one, unless it says when it ends.
  if (why.retry_after_s > 0)
    out += "retry-after: " + std::to_string(why.retry_after_s) + "\r\n";
  else if (why.status < 500)
    out += "x-should-retry: false\r\n";
  if (!c.keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
  if (c.request->get().method() != http::verb::head) out += text;
  error_code ec;
  c.answered = true;
  co_await asio::async_write(c.socket, asio::buffer(out), into(ec));
  if (ec) c.keep_alive = false;
}

// Reads the rest of a refused request, so that the next one can be found; a long one ends the
// connection.
task<void> gateway::state::discard(client& c) {
  if (c.expects_continue) c.keep_alive = false;
  std::array<char, 8192> piece;
  std::size_t total = 0;
  while (c.keep_alive && !c.request->is_done()) {
    auto& body = c.request->get().body();
    body.data = piece.data();
    body.size = piece.size();
    error_code ec;
    co_await http::async_read_some(c.socket, c.buffer, *c.request, into(ec));
    total += piece.size() - body.size;
    if ((ec && ec != http::error::need_buffer) || total > discard_limit_bytes) c.keep_alive = false;
  }
}

task<void> gateway::state::serve(std::shared_ptr<client> c) {
  auto self = shared_from_this();
  while (!stopped && co_await read_header(*c)) {
    auto failure = co_await handle(c);
    if (failure) {
      watchdog limit(io, policy.idle, [&c] {
        error_code ignored;
        c->socket.close(ignored);
      });
      co_await answer(*c, *failure);
      co_await discard(*c);
    }
    // Bytes of this request's body must never be taken for the next request.
    if (!c->request->is_done()) c->keep_alive = false;
    if (!c->keep_alive) break;
  }
  error_code ignored;
  c->socket.close(ignored);
  clients.erase(c);
}

task<std::optional<refusal>> gateway::state::handle(std::shared_ptr<client> c) {
  const auto& head = c->request->get();
  if (!is_sound(*c->request)) {
    c->keep_alive = false; // where the body ends is not known for sure
    co_return malformed;
  }
  if (head.method() == http::verb::connect) co_return co_await open_tunnel(c);
  if (!allowed_method(head.method())) {
    c->keep_alive = false;
    co_return bad_method;
  }
  std::string_view target{head.target().data(), head.target().size()};
  if (!target.starts_with('/')) co_return co_await proxy(c);
  auto mine = access; // of this request, to its end
  route to;
  if (auto failure = find_route(target, mine->rules, to)) co_return failure;
  if (revoked) co_return gate::keys_revoked;
  if (spend.used_up()) co_return allowance_used_up;
  c->uses_key = true;
  c->cut = false; // that was another key, and another request
  auto failure = co_await forward(context, c, to);
  c->uses_key = false;
  co_return failure;
}

// Plain HTTP as through any proxy: what is not encrypted is forwarded request by request.
task<std::optional<refusal>> gateway::state::proxy(std::shared_ptr<client> c) {
  static const gateway_rule nothing_added;
  auto target = c->request->get().target();
  authority host;
  route to{&nothing_added, {}, {}};
  if (!split_absolute({target.data(), target.size()}, host, to.target)) co_return malformed;
  auto mine = access;
  if (auto failure = find_tunnel(host, *mine, to.to)) co_return failure;
  co_return co_await forward(context, c, to);
}

task<std::optional<refusal>> gateway::state::open_tunnel(std::shared_ptr<client> c) {
  c->keep_alive = false; // what follows is no request, whatever becomes of it
  const auto& head = c->request->get();
  if (head.count(http::field::content_length) > 0 || head.count(http::field::transfer_encoding) > 0)
    co_return malformed;
  auto to = parse_authority({head.target().data(), head.target().size()});
  if (!to) co_return bad_authority;
  if (tunnels.size() >= policy.tunnels) co_return too_many_tunnels;
  endpoint where;
  if (auto failure = find_tunnel(*to, *access, where)) co_return failure;
  auto t = std::make_shared<tunnel>(context, c, *to);
  tunnels.insert(t);
  auto failure = co_await t->run(where);
  tunnels.erase(t);
  co_return failure;
}

gateway::gateway(asio::io_context& io, int listening_fd, gateway_access access,
                 gateway_policy policy, price_table prices) {
  s_ = std::make_shared<state>(io, listening_fd, checked(std::move(access)), policy,
                               std::move(prices));
}

void gateway::allow(gateway_access access) {
  s_->access = checked(std::move(access));
  s_->revoked = false;
  endpoint ignored;
  for (const auto& t : s_->tunnels)
    if (find_tunnel(t->target(), *s_->access, ignored)) t->close();
}

void gateway::set_allowance(allowance most) {
  s_->spend.allow(most);
}

void gateway::revoke_keys() {
  s_->revoked = true;
  auto without = *s_->access;
  for (auto& rule : without.rules)
    for (auto& [name, value] : rule.headers)
      value.clear();
  s_->access = std::make_shared<const gateway_access>(std::move(without));
  for (const auto& c : s_->clients) {
    if (!c->uses_key) continue;
    c->cut = true;
    if (c->cut_transfer) c->cut_transfer();
  }
}

bool gateway::keys_revoked() const {
  return s_->revoked;
}

const spend_ledger& gateway::spend() const {
  return s_->spend;
}

gateway::~gateway() {
  stop();
}

void gateway::start() {
  asio::co_spawn(
      s_->io, [s = s_] { return s->accept(); }, asio::detached);
}

void gateway::stop() {
  if (std::exchange(s_->stopped, true)) return;
  error_code ignored;
  s_->acceptor.close(ignored);
  for (const auto& c : s_->clients)
    c->socket.close(ignored);
  for (const auto& t : s_->tunnels)
    t->close();
}

gateway_counts gateway::counts() const {
  return s_->counts;
}

} // namespace skep::host
