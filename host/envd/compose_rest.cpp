// POST /files/compose: several files become one, in order, and go away themselves.
#include "host/envd/handlers.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::envd {

namespace {
struct owned {
  int fd = -1;
  explicit owned(int f) : fd(f) {}
  owned(const owned&) = delete;
  owned& operator=(const owned&) = delete;
  ~owned() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void compose_failed(const std::string& what, int number) {
  if (number == ENOENT || number == ENOTDIR) fail(404, what + " does not exist");
  if (number == ENOSPC || number == EDQUOT) fail(507, "not enough disk space available");
  fail(500, what + ": " + std::strerror(number));
}

std::string resolved(services& s, const std::string& asked) {
  std::string out;
  if (asked.empty() || !s.user.resolve(asked, out))
    fail(400, "path '" + asked + "' is no path of this user");
  return out;
}

// Within the kernel; what holds one request up is one piece.
void append(int to, int from, const std::string& path) {
  std::array<char, 65536> piece;
  for (;;) {
    auto n = ::read(from, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) compose_failed("path '" + path + "'", errno);
    if (n == 0) return;
    for (ssize_t at = 0; at < n;) {
      auto w = ::write(to, piece.data() + at, static_cast<std::size_t>(n - at));
      if (w < 0 && errno == EINTR) continue;
      if (w < 0) compose_failed("error writing the destination", errno);
      at += w;
    }
  }
}
} // namespace

task<void> files_compose(services& s, exchange& x) {
  auto text = co_await x.body(rpc_limit_bytes);
  auto j = json::parse(text, nullptr, false);
  if (!j.is_object() || !j.contains("source_paths") || !j["source_paths"].is_array()
      || j["source_paths"].empty() || !j.contains("destination") || !j["destination"].is_string())
    fail(400, "source_paths and destination are required");
  auto user = j.contains("username") && j["username"].is_string() ? j["username"].get<std::string>()
                                                                  : std::string{};
  if (!s.user.known(user)) fail(401, "error looking up user '" + user + "': no such user here");
  auto destination = resolved(s, j["destination"].get<std::string>());
  std::vector<std::string> sources;
  for (const auto& p : j["source_paths"]) {
    if (!p.is_string()) fail(400, "source_paths holds something that is no text");
    sources.push_back(resolved(s, p.get<std::string>()));
    struct stat st {};
    if (::stat(sources.back().c_str(), &st) != 0)
      compose_failed("path '" + sources.back() + "'", errno);
    if (!S_ISREG(st.st_mode)) fail(400, "path '" + sources.back() + "' is not a regular file");
  }
  if (!make_parents(destination)) compose_failed("error creating the parents", errno);
  // Beside the destination, then renamed: it may be one of the sources, and is never half there.
  auto part = destination + ".compose-" + std::to_string(::getpid());
  owned to{::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666)};
  if (to.fd < 0) compose_failed("error opening '" + destination + "'", errno);
  try {
    for (const auto& source : sources) {
      owned from{::open(source.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)};
      if (from.fd < 0) compose_failed("path '" + source + "'", errno);
      append(to.fd, from.fd, source);
    }
    if (::rename(part.c_str(), destination.c_str()) != 0)
      compose_failed("error writing '" + destination + "'", errno);
  } catch (const rest_failure&) {
    ::unlink(part.c_str());
    throw;
  }
  for (const auto& source : sources)
    if (source != destination) ::unlink(source.c_str());
  auto body = dump(json{{"path", destination},
                        {"name", destination.substr(destination.rfind('/') + 1)},
                        {"type", "file"}});
  co_await x.reply(200, "application/json", body);
}

} // namespace skep::envd
