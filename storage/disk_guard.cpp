#include "storage/disk_guard.hpp"
#include "storage/files.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace skep::storage {
namespace {

/// Allocates the file's blocks; a half-made one is removed again.
void make_reserve(const std::filesystem::path& file, std::uint64_t size) {
  auto fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  auto code = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  ::close(fd);
  if (code != 0) ::unlink(file.c_str());
}

} // namespace

std::uint64_t free_bytes(const std::filesystem::path& directory) {
  struct statvfs s {};
  while (::statvfs(directory.c_str(), &s) != 0)
    if (errno != EINTR) return UINT64_MAX;
  return static_cast<std::uint64_t>(s.f_bavail) * s.f_frsize;
}

disk_guard::disk_guard(std::filesystem::path directory, disk_limits limits)
    : directory_(std::move(directory)), reserve_(directory_ / "reserve"), limits_(limits) {}

disk_level disk_guard::refresh() {
  auto free = free_bytes(directory_);
  if (free < limits_.reserve_bytes) {
    release_reserve();
    return level_ = disk_level::critical;
  }
  // The space just given back must not count as plenty, or it would be taken at once.
  bool missing = limits_.reserve_bytes > 0 && !path_exists(reserve_);
  auto needed = limits_.low_water_bytes + (missing ? limits_.reserve_bytes : 0);
  if (free < needed) {
    if (missing && level_ == disk_level::critical) return level_;
    return level_ = disk_level::low;
  }
  if (missing) make_reserve(reserve_, limits_.reserve_bytes);
  return level_ = disk_level::plenty;
}

void disk_guard::release_reserve() {
  ::unlink(reserve_.c_str());
}

} // namespace skep::storage
