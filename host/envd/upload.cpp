#include "host/envd/upload.hpp"

#include "host/envd/handlers.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace skep::envd {

namespace {
[[noreturn]] void upload_failed(const std::string& what, int number) {
  if (number == ENOSPC || number == EDQUOT) fail(507, "not enough disk space available");
  if (number == EISDIR) fail(400, what + ": path is a directory");
  fail(500, what + ": " + std::strerror(number));
}
} // namespace

upload_file::~upload_file() {
  if (fd_ >= 0) ::close(fd_);
}

void upload_file::open(std::string path) {
  path_ = std::move(path);
  if (!make_parents(path_)) upload_failed("error creating the parents of '" + path_ + "'", errno);
  // O_NONBLOCK: a FIFO without a reader must not stop the whole server.
  fd_ =
      ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
  if (fd_ < 0) upload_failed("error opening '" + path_ + "'", errno);
}

void upload_file::write(std::string_view bytes) {
  while (!bytes.empty()) {
    auto n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) upload_failed("error writing '" + path_ + "'", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

json upload_file::close(const metadata& all) {
  if (!write_metadata(fd_, all)) upload_failed("error writing metadata of '" + path_ + "'", errno);
  int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) upload_failed("error closing '" + path_ + "'", errno);
  json out{{"path", path_}, {"name", path_.substr(path_.rfind('/') + 1)}, {"type", "file"}};
  for (const auto& [key, value] : all)
    out["metadata"][key] = value;
  return out;
}

} // namespace skep::envd
