#include "actors/output_log.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::actors {
output_log::output_log(int fd, std::uint64_t position, masker mask)
    : fd_(fd), position_(position), mask_(std::move(mask)) {}

output_log::output_log(output_log&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), position_(other.position_), mask_(std::move(other.mask_)) {
}

output_log::~output_log() {
  if (fd_ >= 0) ::close(fd_);
}

result<output_log> output_log::open(const std::filesystem::path& file,
                                    const std::vector<std::string>& forms) {
  std::error_code ec;
  std::filesystem::create_directories(file.parent_path(), ec);
  auto fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0) {
    auto why = std::string{std::strerror(errno)};
    if (fd >= 0) ::close(fd);
    return make_error(errc::io, "cannot open the log " + file.string(), why);
  }
  return output_log{fd, static_cast<std::uint64_t>(st.st_size), masker{forms}};
}

result<std::string> output_log::append(std::uint64_t offset, std::string_view data) {
  auto want = expected();
  if (offset > want)
    return make_error(errc::bad_frame, "output jumped from offset " + std::to_string(want) + " to "
                                           + std::to_string(offset));
  auto known = want - offset;
  if (known >= data.size()) return std::string{};
  return write(mask_.feed(data.substr(known)));
}

result<std::string> output_log::finish() {
  return write(mask_.flush());
}

result<std::string> output_log::write(std::string text) {
  std::string_view rest{text};
  while (!rest.empty()) {
    auto n = ::write(fd_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return make_error(errno == ENOSPC || errno == EDQUOT ? errc::disk_full : errc::io,
                        "cannot write a log", std::strerror(errno));
    rest.remove_prefix(static_cast<std::size_t>(n));
    position_ += static_cast<std::uint64_t>(n);
  }
  return text;
}

} // namespace skep::actors
