// How a token reaches the host of an https remote, seen by a server that stands in for the forge.
#include "transfer/forge.hpp"
#include "messages/json.hpp"
#include "tests/support/localhost_certificate.hpp"
#include "tests/transfer/repo.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <csignal>
#include <mutex>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <optional>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace skep;
using namespace skep::test;
using namespace skep::transfer;
namespace fs = std::filesystem;

namespace {

/// Variables of this process, put back at the end.
class with_environment {
public:
  explicit with_environment(std::vector<std::pair<std::string, std::string>> values) {
    for (auto& [name, value] : values) {
      const char* before = ::getenv(name.c_str());
      before_.emplace_back(name, before ? std::optional<std::string>{before} : std::nullopt);
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }
  with_environment(const with_environment&) = delete;
  ~with_environment() {
    for (auto& [name, value] : before_)
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
  }

private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

/// Command lines of all processes that this one may look at.
std::vector<std::string> command_lines() {
  std::vector<std::string> out;
  std::error_code ignored;
  for (fs::directory_iterator i{"/proc", ignored}, end; !ignored && i != end; i.increment(ignored))
    if (std::isdigit(static_cast<unsigned char>(i->path().filename().string()[0])))
      if (auto line = get(i->path() / "cmdline"); !line.empty()) out.push_back(std::move(line));
  return out;
}

/// Refuses every request with 403 and keeps its head, with the command lines of that moment.
class recording_forge {
public:
  explicit recording_forge(bool tls) : context_{nullptr, SSL_CTX_free} {
    ::signal(SIGPIPE, SIG_IGN); // of a client that hangs up
    if (tls) make_context();
    listener_ = unique_fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* address = reinterpret_cast<sockaddr*>(&at);
    REQUIRE(::bind(listener_.get(), address, size) == 0);
    REQUIRE(::listen(listener_.get(), 8) == 0);
    REQUIRE(::getsockname(listener_.get(), address, &size) == 0);
    port_ = ntohs(at.sin_port);
    serving_ = std::thread{[this] { serve(); }};
  }
  ~recording_forge() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    serving_.join();
  }
  recording_forge(const recording_forge&) = delete;

  std::string url() const {
    return (context_ ? "https://localhost:" : "http://localhost:") + std::to_string(port_)
           + "/repo.git";
  }
  std::vector<std::string> heads() const {
    std::lock_guard guard{mutex_};
    return heads_;
  }
  std::vector<std::string> lines() const {
    std::lock_guard guard{mutex_};
    return lines_;
  }

private:
  void make_context() {
    context_.reset(SSL_CTX_new(TLS_server_method()));
    localhost_certificate own;
    REQUIRE(SSL_CTX_use_certificate(context_.get(), own.get()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(context_.get(), own.key()) == 1);
  }

  void serve() {
    for (;;) {
      unique_fd peer{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
      if (!peer) return;
      timeval most{10, 0};
      ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
      std::unique_ptr<BIO, void (*)(BIO*)> line{BIO_new_socket(peer.get(), BIO_NOCLOSE),
                                                BIO_free_all};
      if (context_) line.reset(BIO_push(BIO_new_ssl(context_.get(), 0), line.release()));
      std::string head;
      char piece[4096];
      while (head.find("\r\n\r\n") == head.npos) {
        auto n = BIO_read(line.get(), piece, sizeof piece);
        if (n <= 0) break;
        head.append(piece, static_cast<std::size_t>(n));
      }
      if (head.empty()) continue;
      auto seen = command_lines();
      {
        std::lock_guard guard{mutex_};
        heads_.push_back(std::move(head));
        lines_.insert(lines_.end(), seen.begin(), seen.end());
      }
      std::string_view answer =
          "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
      BIO_write(line.get(), answer.data(), static_cast<int>(answer.size()));
      static_cast<void>(BIO_flush(line.get()));
    }
  }

  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  unique_fd listener_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> heads_, lines_;
  std::thread serving_;
};

bool any_holds(const std::vector<std::string>& texts, const std::string& what) {
  return std::any_of(texts.begin(), texts.end(),
                     [&](const auto& text) { return text.find(what) != text.npos; });
}

const std::string sesame = "sesame-token";
const std::string sent_sesame = base64_encode("x-access-token:" + sesame);

/// Pushes a branch to that forge, which refuses it; the error.
error pushed_to(const recording_forge& forge) {
  repo r;
  r.put("a", "a\n");
  r.commit();
  git(r.path, {"branch", "fix"});
  git(r.path, {"remote", "add", "up", forge.url()});
  // The user's own configuration has no say, and the certificate is nobody's.
  with_environment clean{{{"GIT_SSL_NO_VERIFY", "1"},
                          {"GIT_CONFIG_GLOBAL", "/dev/null"},
                          {"GIT_CONFIG_NOSYSTEM", "1"},
                          {"no_proxy", "localhost"},
                          {"NO_PROXY", "localhost"}}};
  auto done = push_branch({r.path, "up", "fix", sesame});
  REQUIRE_FALSE(done.ok());
  for (const auto& file : fs::recursive_directory_iterator{r.path})
    if (file.is_regular_file()) {
      INFO(file.path().string());
      auto text = get(file.path());
      CHECK(text.find(sesame) == text.npos);
      CHECK(text.find(sent_sesame) == text.npos);
    }
  return done.err();
}

} // namespace

TEST_CASE("the token of a forge goes to its https remote as a header, and is in no argument, "
          "file or error",
          "[owasp-a02]") {
  recording_forge forge{true};
  auto why = pushed_to(forge);
  CHECK(why.code == errc::push_failed);
  CHECK(why.cause.find("403") != std::string::npos);
  CHECK(render(why).find(sesame) == std::string::npos);
  CHECK(render(why).find(sent_sesame) == std::string::npos);
  auto heads = forge.heads();
  REQUIRE_FALSE(heads.empty());
  CHECK(heads[0].starts_with("GET /repo.git/info/refs?service=git-receive-pack HTTP/1.1\r\n"));
  CHECK(heads[0].find("\r\nAuthorization: Basic " + sent_sesame + "\r\n") != std::string::npos);
  auto lines = forge.lines();
  REQUIRE(any_holds(lines, forge.url())); // git was seen at its work
  CHECK_FALSE(any_holds(lines, sesame));
  CHECK_FALSE(any_holds(lines, sent_sesame));
}

TEST_CASE("a remote that is reached without TLS is sent no token", "[owasp-a02]") {
  recording_forge forge{false};
  auto why = pushed_to(forge);
  CHECK(why.code == errc::push_failed);
  auto heads = forge.heads();
  REQUIRE_FALSE(heads.empty());
  CHECK(heads[0].starts_with("GET /repo.git/info/refs?service=git-receive-pack HTTP/1.1\r\n"));
  CHECK_FALSE(any_holds(heads, "Authorization"));
  CHECK_FALSE(any_holds(heads, sent_sesame));
}
