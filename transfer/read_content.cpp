#include "transfer/read_content.hpp"

#include <algorithm>
#include <cerrno>
#include <unistd.h>

namespace skep::transfer {
namespace {

/// Fills `to`, or as much of it as the file has left.
result<std::size_t> fill(int fd, const std::string& name, std::span<char> to,
                         const std::atomic<bool>* cancel) {
  std::size_t got = 0;
  while (got < to.size()) {
    if (cancel && cancel->load()) return make_error(errc::cancelled, name);
    auto n = ::read(fd, to.data() + got, to.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(name, errno);
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
  }
  return got;
}

} // namespace

result<void> read_content(int fd, const file_entry& entry, const std::atomic<bool>* cancel,
                          const content_taker& to) {
  auto changed = [&] { return make_error(errc::io, entry.path + " changed while it was read"); };
  for (auto left = entry.size;;) {
    auto room = to.room(left);
    room = room.first(static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), left)));
    auto got = fill(fd, entry.path, room, cancel);
    if (!got) return got.err();
    if (*got != room.size()) return changed();
    left -= room.size();
    if (auto taken = to.take(room.size(), left == 0); !taken) return taken;
    if (left == 0) break;
  }
  char more = 0;
  auto got = fill(fd, entry.path, {&more, 1}, cancel);
  if (!got) return got.err();
  return *got == 0 ? result<void>{} : changed();
}

} // namespace skep::transfer
