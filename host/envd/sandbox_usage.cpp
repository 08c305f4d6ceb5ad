#include "host/envd/sandbox_usage.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string_view>
#include <sys/statvfs.h>
#include <unistd.h>

namespace skep::envd {

namespace {
// The file's beginning; what we look for fits.
std::string_view read_file(int dir, const char* pid, const char* name, std::array<char, 4096>& to) {
  std::array<char, 64> path;
  std::snprintf(path.data(), path.size(), "%s/%s", pid, name);
  int fd = ::openat(dir, path.data(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  auto n = ::read(fd, to.data(), to.size());
  ::close(fd);
  return n > 0 ? std::string_view{to.data(), static_cast<std::size_t>(n)} : std::string_view{};
}

std::uint64_t number_at(std::string_view text, std::size_t at) {
  std::uint64_t value = 0;
  std::from_chars(text.data() + at, text.data() + text.size(), value);
  return value;
}

// utime, stime, cutime, cstime: fields 14 to 17, counted behind the name, which may hold anything.
std::uint64_t ticks_of(std::string_view stat) {
  auto at = stat.rfind(')');
  std::uint64_t sum = 0;
  for (int field = 2; at != std::string_view::npos && field <= 17; ++field) {
    if (field >= 14) sum += number_at(stat, at);
    at = stat.find(' ', at + (field == 2 ? 1 : 0));
    if (at != std::string_view::npos) ++at;
  }
  return sum;
}

std::uint64_t kib_of(std::string_view status, std::string_view name) {
  auto at = status.find(name);
  if (at == std::string_view::npos) return 0;
  at = status.find_first_of("0123456789", at + name.size());
  return at == std::string_view::npos ? 0 : number_at(status, at);
}

std::uint64_t used_on(const char* path) {
  struct statvfs fs {};
  if (::statvfs(path, &fs) != 0) return 0;
  return static_cast<std::uint64_t>(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
}
} // namespace

sandbox_usage read_usage(const char* home) {
  sandbox_usage out;
  std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  std::array<char, 4096> text;
  while (auto* e = proc ? ::readdir(proc.get()) : nullptr) {
    if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
    out.cpu_ticks += ticks_of(read_file(::dirfd(proc.get()), e->d_name, "stat", text));
    auto status = read_file(::dirfd(proc.get()), e->d_name, "status", text);
    out.memory_bytes += (kib_of(status, "RssAnon:") + kib_of(status, "RssShmem:")) << 10;
    out.cache_bytes += kib_of(status, "RssFile:") << 10;
  }
  for (const char* memory_disk : {"/tmp", "/dev/shm"})
    out.memory_bytes += used_on(memory_disk);
  struct statvfs disk {};
  if (::statvfs(home, &disk) == 0) {
    out.disk_total_bytes = static_cast<std::uint64_t>(disk.f_blocks) * disk.f_frsize;
    out.disk_used_bytes =
        out.disk_total_bytes - static_cast<std::uint64_t>(disk.f_bfree) * disk.f_frsize;
  }
  return out;
}

} // namespace skep::envd
