#include "transfer/freed_front.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {

std::uint64_t kept_from(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || st.st_size == 0) return 0;
  auto at = ::lseek(fd, 0, SEEK_DATA);
  if (at < 0 && errno == ENXIO) at = st.st_size; // nothing but a hole
  // Holes that we made are whole MiB; a file system may know smaller ones of its own.
  return at > 0 ? static_cast<std::uint64_t>(at) / freed_together * freed_together : 0;
}

std::uint64_t front_to_free(std::uint64_t begin, std::uint64_t length, std::uint64_t cap_bytes,
                            std::uint64_t slack_bytes) {
  if (length - begin <= cap_bytes || length - begin - cap_bytes <= slack_bytes) return begin;
  return std::max(begin, (length - cap_bytes) / freed_together * freed_together);
}

result<void> free_front(int fd, std::uint64_t begin, std::uint64_t end) {
  if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                  static_cast<off_t>(end - begin))
      != 0)
    return make_error(errc::io, "cannot free the front of a log", std::strerror(errno));
  return {};
}

result<unique_fd> begin_at(const std::string& path, std::uint64_t begin) {
  const auto made = path + ".new";
  unique_fd fd{
      ::open(made.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600)};
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(begin)) != 0) {
    auto why = errno;
    ::unlink(made.c_str());
    return io_error("cannot begin a log again", why);
  }
  if (kept_from(fd.get()) != begin) {
    ::unlink(made.c_str());
    return make_error(errc::io, "a log that has lost a part cannot go on: its file system does not "
                                "tell where a hole ends");
  }
  if (::rename(made.c_str(), path.c_str()) != 0) {
    auto why = errno;
    ::unlink(made.c_str());
    return io_error("cannot begin a log again", why);
  }
  return fd;
}

} // namespace skep::transfer
