// TLS towards the upstream: a server of our own with a self-signed certificate for "localhost".
#include "tests/gateway/gateway_fixture.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/localhost_certificate.hpp"

#include <cstdlib>
#include <memory>
#include <openssl/ssl.h>

using namespace skep;
using namespace skep::test;

namespace {

class tls_upstream {
public:
  tls_upstream() : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
    SSL_CTX_use_certificate(context_.get(), certificate_.get());
    SSL_CTX_use_PrivateKey(context_.get(), certificate_.key());
  }
  int port() const { return listener_.port(); }
  void write_certificate(const std::string& path) { certificate_.write(path); }
  /// Serves one connection; returns what the client asked, or nothing when the handshake failed.
  std::string serve_one() {
    auto c = listener_.accept();
    std::unique_ptr<SSL, void (*)(SSL*)> tls(SSL_new(context_.get()), SSL_free);
    SSL_set_fd(tls.get(), c.fd());
    if (SSL_accept(tls.get()) != 1) return {};
    std::string seen;
    char piece[4096];
    while (seen.find("\r\n\r\n") == std::string::npos) {
      int n = SSL_read(tls.get(), piece, sizeof piece);
      if (n <= 0) return {};
      seen.append(piece, static_cast<std::size_t>(n));
    }
    std::string_view reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    SSL_write(tls.get(), reply.data(), static_cast<int>(reply.size()));
    SSL_shutdown(tls.get());
    return seen;
  }

private:
  tcp_listener listener_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  localhost_certificate certificate_;
};

struct outcome {
  answer reply;
  std::string seen;
};

outcome ask(tls_upstream& up, const std::string& host) {
  running_gateway g({{"api.test",
                      {{"x-api-key", "sk-real"}},
                      {},
                      "https://" + host + ":" + std::to_string(up.port())}});
  outcome out;
  std::thread serving([&] { out.seen = up.serve_one(); });
  out.reply = g.get("/api.test/v1/x");
  serving.join();
  return out;
}

} // namespace

TEST_CASE("a certificate that nobody vouches for is refused before the key is sent",
          "[owasp-a02]") {
  tls_upstream up;
  auto o = ask(up, "localhost");
  CHECK(o.reply.status == 502);
  CHECK(o.reply.body.find("certificate") != std::string::npos);
  CHECK(o.seen.empty());
}

TEST_CASE("a trusted certificate counts for its own name only") {
  tls_upstream up;
  temp_dir dir;
  up.write_certificate(dir / "ca.pem");
  ::setenv("SSL_CERT_FILE", (dir / "ca.pem").c_str(), 1);
  auto good = ask(up, "localhost");
  auto other = ask(up, "127.0.0.1");
  ::unsetenv("SSL_CERT_FILE");
  CHECK(good.reply.status == 200);
  CHECK(good.reply.body == "ok");
  CHECK(good.seen.find("x-api-key: sk-real\r\n") != std::string::npos);
  CHECK(other.reply.status == 502);
  CHECK(other.seen.empty());
}
