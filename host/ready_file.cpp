#include "host/ready_file.hpp"

#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>

namespace skep::host {
namespace {

/// First byte of what the helper is told: remove the file, or write what follows up to the end.
constexpr char ask_remove = 'r', ask_write = 'w';

result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove " + path);
  return {};
}

/// One byte; nothing at the end of the stream.
std::string read_byte(int fd) {
  char byte = 0;
  for (;;) {
    auto n = ::read(fd, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    return n == 1 ? std::string{byte} : std::string{};
  }
}

/// The helper's life: it answers each wish with a line, which is empty when the wish was carried
/// out, and ends with the write, or with the host.
void help(int fd, const std::string& path) {
  for (;;) {
    auto asked = read_byte(fd);
    if (asked.empty()) return;
    result<void> done;
    if (asked[0] == ask_remove) done = remove_file(path);
    if (asked[0] == ask_write) {
      auto text = read_all(fd, 65536);
      done = text ? write_file_atomic(path, *text, 0644) : result<void>{text.err()};
    }
    if (!write_all(fd, (done ? std::string{} : done.err().message) + "\n")) return;
    if (asked[0] == ask_write) return;
  }
}

result<void> answer_of(int fd) {
  std::string line;
  for (;;) {
    auto byte = read_byte(fd);
    if (byte.empty()) return make_error(errc::io, "the process that writes the ready file is gone");
    if (byte == "\n") break;
    line += byte;
  }
  if (!line.empty()) return make_error(errc::io, line);
  return {};
}

} // namespace

result<ready_file> ready_file::prepare(const std::string& path) {
  ready_file out;
  out.path_ = path;
  if (path.empty() || ::geteuid() != 0) return out;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return system_error("socketpair");
  unique_fd ours{ends[0]}, theirs{ends[1]};
  auto pid = ::fork();
  if (pid < 0) return system_error("fork");
  if (pid == 0) {
    ours.reset();
    help(theirs.get(), path);
    ::_exit(0);
  }
  out.helper_ = std::move(ours);
  return out;
}

result<void> ready_file::clear() {
  if (path_.empty()) return {};
  if (!helper_) return remove_file(path_);
  if (auto r = write_all(helper_.get(), std::string_view{&ask_remove, 1}); !r) return r;
  return answer_of(helper_.get());
}

result<void> ready_file::write(std::string_view text) {
  if (path_.empty()) return {};
  if (!helper_) return write_file_atomic(path_, text, 0644);
  if (auto r = write_all(helper_.get(), ask_write + std::string{text}); !r) return r;
  ::shutdown(helper_.get(), SHUT_WR);
  auto done = answer_of(helper_.get());
  helper_.reset();
  return done;
}

void ready_file::remove() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

} // namespace skep::host
