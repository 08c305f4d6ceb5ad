// A gateway on a thread of its own; the test plays the client and the upstream.
#pragma once

#include "host/gateway/gateway.hpp"
#include "messages/json.hpp"
#include "tests/envd/raw_http.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <chrono>
#include <cstdio>
#include <future>
#include <thread>

namespace skep::test {

class running_gateway {
public:
  explicit running_gateway(std::vector<host::gateway_rule> rules, host::gateway_policy policy = {})
      : running_gateway(host::gateway_access{std::move(rules), {}}, policy) {}
  explicit running_gateway(host::gateway_access access, host::gateway_policy policy = {})
      : gateway_(io_, listen_unix(dir_ / "g"), std::move(access), policy) {
    gateway_.start();
    thread_ = std::thread([this] { io_.run(); });
  }
  /// Joining proves that stop() ends everything.
  ~running_gateway() {
    boost::asio::post(io_, [this] { gateway_.stop(); });
    thread_.join();
  }
  running_gateway(const running_gateway&) = delete;
  running_gateway& operator=(const running_gateway&) = delete;

  raw_connection connect() const { return raw_connection::to_unix(dir_ / "g"); }
  answer request(const std::string& text) const {
    auto c = connect();
    c.send(text);
    return c.read_answer();
  }
  answer get(const std::string& target) const {
    return request("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  void allow(const host::gateway_access& access) {
    with([&](host::gateway& g) { g.allow(access); });
  }
  /// Does something on the gateway's thread, and passes on what it throws.
  template <class F>
  void with(F what) {
    std::promise<void> p;
    boost::asio::post(io_, [&] {
      try {
        what(gateway_);
        p.set_value();
      } catch (...) {
        p.set_exception(std::current_exception());
      }
    });
    p.get_future().get();
  }
  host::gateway_counts counts() {
    std::promise<host::gateway_counts> p;
    boost::asio::post(io_, [&] { p.set_value(gateway_.counts()); });
    return p.get_future().get();
  }

private:
  temp_dir dir_;
  boost::asio::io_context io_;
  host::gateway gateway_;
  std::thread thread_;
};

/// One rule, `api.test`, whose key is `real-key`.
inline host::gateway_access under_a_rule(const tcp_listener& upstream) {
  return {{{"api.test",
            {{"x-api-key", "real-key"}},
            {},
            "http://127.0.0.1:" + std::to_string(upstream.port())}},
          {}};
}

/// A request to the domain of under_a_rule().
inline std::string post(const std::string& body, const std::string& path = "/v1/messages") {
  return "POST /api.test" + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: "
         + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// An upstream's answer to a call that used so many tokens.
inline void answer_call(raw_connection& there, const std::string& model, int input, int output) {
  json body = {{"model", model}, {"usage", {{"input_tokens", input}, {"output_tokens", output}}}};
  auto text = body.dump();
  there.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
             + std::to_string(text.size()) + "\r\n\r\n" + text);
}

/// The same to the next call that comes.
inline void answer_with(tcp_listener& upstream, const std::string& model, int input, int output) {
  auto there = upstream.accept();
  there.read_answer();
  answer_call(there, model, input, output);
}

/// Waits until the gateway has read so many bytes of requests' bodies, and done with them all that
/// it does at once.
inline void await_bytes_in(running_gateway& g, std::uint64_t bytes) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{patience_ms};
  while (g.counts().bytes_in < bytes)
    if (std::chrono::steady_clock::now() > end) give_up("the requests were not read");
}

/// A request that has come upstream whole and is not answered: its client, and the upstream's end.
struct call_under_way {
  raw_connection client;
  raw_connection there;
};

/// A gateway with the rule of under_a_rule(), and the upstream that it leads to.
struct ruled_gateway {
  explicit ruled_gateway(host::gateway_policy policy = {}) : g(under_a_rule(upstream), policy) {}

  tcp_listener upstream;
  running_gateway g;

  call_under_way begin_call(const std::string& request) {
    auto client = g.connect();
    client.send(request);
    auto there = upstream.accept();
    there.read_answer();
    return {std::move(client), std::move(there)};
  }
  /// A request that has come to the gateway whole, and of which its header alone went on.
  call_under_way begin_waiting(const std::string& request) {
    auto body = request.size() - (request.find("\r\n\r\n") + 4);
    auto read = g.counts().bytes_in + body;
    auto client = g.connect();
    client.send(request);
    auto there = upstream.accept();
    there.read_header();
    await_bytes_in(g, read);
    return {std::move(client), std::move(there)};
  }
  /// What the client gets where the upstream answers that so many tokens were used.
  answer answered(const std::string& request, const std::string& model, int input, int output) {
    auto client = g.connect();
    client.send(request);
    answer_with(upstream, model, input, output);
    return client.read_answer();
  }
};

/// One chunk of a chunked body.
inline std::string chunk_of(const std::string& text) {
  char size[16];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + text + "\r\n";
}

/// Whoever hangs up is waited for shortly.
struct short_drain_gateway : ruled_gateway {
  static host::gateway_policy policy() {
    host::gateway_policy out;
    out.drain = std::chrono::milliseconds{100};
    return out;
  }
  short_drain_gateway() : ruled_gateway(policy()) {}
};

/// Waits until the gateway has counted a call: its answer ends on another thread.
inline host::model_call only_call(running_gateway& g) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{patience_ms};
  for (;;) {
    std::vector<host::model_call> calls;
    g.with([&](host::gateway& x) { calls = x.spend().after(0); });
    if (!calls.empty()) return calls.front();
    if (std::chrono::steady_clock::now() > end) give_up("no call was counted");
  }
}

} // namespace skep::test
