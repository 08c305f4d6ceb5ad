#include "host/gateway/gateway.hpp"

#include "host/gateway/forward.hpp"
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
  state(asio::io_context& i, int fd, std::vector<gateway_rule> r, gateway_policy p)
      : io(i), acceptor(i, asio::local::stream_protocol{}, fd), rules(std::move(r)), policy(p),
        tls(asio::ssl::context::tls_client) {
    tls.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2
                    | asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1
                    | asio::ssl::context::no_tlsv1_1);
    tls.set_default_verify_paths();
  }

  task<void> accept();
  task<void> serve(std::shared_ptr<client> c);
  task<bool> read_header(client& c);
  task<void> answer(client& c, refusal why);
  task<void> discard(client& c);

  asio::io_context& io;
  asio::local::stream_protocol::acceptor acceptor;
  std::vector<gateway_rule> rules;
  gateway_policy policy;
  asio::ssl::context tls;
  gateway_counts counts;
  std::set<std::shared_ptr<client>> clients;
  bool stopped = false;
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
  // SDKs of model APIs repeat failed requests; a refusal stays one.
  if (why.status < 500) out += "x-should-retry: false\r\n";
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
  forward_context context{io, tls, policy, counts};
  while (!stopped && co_await read_header(*c)) {
    route to;
    std::optional<refusal> failure;
    const auto& head = c->request->get();
    if (!is_sound(*c->request)) {
      failure = malformed;
      c->keep_alive = false; // where the body ends is not known for sure
    } else if (!allowed_method(head.method())) {
      failure = bad_method;
      c->keep_alive = false;
    } else {
      failure = find_route({head.target().data(), head.target().size()}, rules, to);
    }
    if (!failure) failure = co_await forward(context, c, to);
    if (failure) {
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

gateway::gateway(asio::io_context& io, int listening_fd, std::vector<gateway_rule> rules,
                 gateway_policy policy) {
  for (const auto& rule : rules)
    if (auto fault = fault_of(rule); !fault.empty())
      throw std::invalid_argument("gateway: " + fault);
  s_ = std::make_shared<state>(io, listening_fd, std::move(rules), policy);
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
}

gateway_counts gateway::counts() const {
  return s_->counts;
}

} // namespace skep::host
