#include "host/ready_file.hpp"

#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>

namespace skep::host {

result<ready_file> ready_file::prepare(const std::string& path) {
  ready_file out;
  out.path_ = path;
  if (path.empty()) return out;
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove " + path);
  if (::geteuid() != 0) return out;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return system_error("socketpair");
  unique_fd ours{ends[0]}, theirs{ends[1]};
  auto pid = ::fork();
  if (pid < 0) return system_error("fork");
  if (pid == 0) {
    ours.reset();
    auto text = read_all(theirs.get(), 65536);
    if (text && !text->empty()) {
      auto r = write_file_atomic(path, *text, 0644);
      if (!r) (void)write_all(theirs.get(), r.err().message);
    }
    ::_exit(0);
  }
  out.helper_ = std::move(ours);
  return out;
}

result<void> ready_file::write(std::string_view text) {
  if (path_.empty()) return {};
  if (!helper_) return write_file_atomic(path_, text, 0644);
  if (auto r = write_all(helper_.get(), text); !r) return r;
  ::shutdown(helper_.get(), SHUT_WR);
  auto failure = read_all(helper_.get(), 4096);
  helper_.reset();
  if (!failure) return failure.err();
  if (!failure->empty()) return make_error(errc::io, *failure);
  return {};
}

void ready_file::remove() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

} // namespace skep::host
