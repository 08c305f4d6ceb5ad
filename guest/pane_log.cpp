#include "guest/pane_log.hpp"

#include "transfer/freed_front.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::guest {

bool pane_log::open(const std::string& file, std::uint64_t cap_bytes) {
  cap_ = cap_bytes;
  fd_.reset(::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd_) begin_ = transfer::kept_from(fd_.get());
  return static_cast<bool>(fd_);
}

std::size_t pane_log::write(std::string_view data) {
  auto rest = data;
  while (!rest.empty()) {
    auto n = ::write(fd_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  trim();
  return data.size() - rest.size();
}

std::uint64_t pane_log::size() const {
  struct stat st {};
  return fd_ && ::fstat(fd_.get(), &st) == 0 ? static_cast<std::uint64_t>(st.st_size) : 0;
}

void pane_log::trim() {
  auto length = size();
  if (cap_ == 0 || length < begin_) return;
  auto slack = std::max(cap_ / 16, transfer::freed_together);
  auto to = transfer::front_to_free(begin_, length, cap_, slack);
  if (to == begin_) return;
  // A full disk may refuse even this; it is tried again at the next write.
  if (transfer::free_front(fd_.get(), begin_, to)) begin_ = to;
}

void pane_log::sync() {
  ::fdatasync(fd_.get());
}

} // namespace skep::guest
