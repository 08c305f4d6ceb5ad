// skep-envd: the daemon inside a local sandbox. See host/envd/README.md.
#include "host/envd/config.hpp"
#include "host/envd/relay.hpp"
#include "host/envd/server.hpp"
#include "messages/release.hpp"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace {

constexpr int usage_exit = 64;
constexpr int failed_exit = 69;

struct options {
  std::optional<int> listen_fd;
  std::string listen_path;
  std::optional<int> config_fd;
  std::string gateway_socket;
};

int usage() {
  std::fputs("usage: skep-envd (--listen-fd N | --listen-unix PATH) [--config-fd M]\n"
             "                 [--gateway-socket PATH]\n",
             stderr);
  return usage_exit;
}

std::optional<int> number(std::string_view text) {
  int value = -1;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

bool parse(int argc, char** argv, options& out) {
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string_view name = argv[i];
    std::string_view value = argv[i + 1];
    if (name == "--listen-fd") {
      if (!(out.listen_fd = number(value))) return false;
    } else if (name == "--listen-unix") {
      out.listen_path = value;
    } else if (name == "--config-fd") {
      if (!(out.config_fd = number(value))) return false;
    } else if (name == "--gateway-socket") {
      out.gateway_socket = value;
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && out.listen_fd.has_value() != !out.listen_path.empty();
}

int listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return -1;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  auto before = ::umask(0177);
  bool good = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::umask(before);
  if (good && ::listen(fd, SOMAXCONN) == 0) return fd;
  ::close(fd);
  return -1;
}

} // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view{argv[1]} == "--version") {
    std::printf("skep-envd %s (envd %s)\n", std::string{skep::release_version}.c_str(),
                std::string{skep::envd::envd_version}.c_str());
    return 0;
  }
  options o;
  if (!parse(argc, argv, o)) return usage();
  skep::envd::config c;
  if (o.config_fd) {
    auto read = skep::envd::read_config(*o.config_fd);
    if (!read) {
      std::fprintf(stderr, "skep-envd: %s\n", skep::render(read.err()).c_str());
      return 78;
    }
    c = std::move(*read);
  }
  int listening = o.listen_fd ? *o.listen_fd : listen_at(o.listen_path);
  if (listening < 0) {
    std::perror("skep-envd: cannot listen");
    return failed_exit;
  }
  std::signal(SIGPIPE, SIG_IGN);
  // What is made inside has the modes of any Linux; outside, the folder above lets nobody else in.
  ::umask(022);
  try {
    boost::asio::io_context io(1);
    std::optional<skep::envd::gateway_relay> relay;
    if (!o.gateway_socket.empty()) {
      relay.emplace(io, c.gateway_port, o.gateway_socket);
      relay->start();
    }
    skep::envd::server server(io, listening, std::move(c));
    server.start();
    io.run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "skep-envd: %s\n", e.what());
    return failed_exit;
  }
  return 0;
}
