// Small helpers for private files and directories; inner header of this room.
#pragma once

#include "messages/error.hpp"

#include <filesystem>
#include <functional>
#include <vector>

namespace skep::storage {

/// A descriptor that is closed at the end of its life.
class unique_fd {
public:
  explicit unique_fd(int fd = -1) : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept;
  ~unique_fd();
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

private:
  int fd_;
};

/// Wall time now.
utc_time now();
/// "20261122T201500.123Z".
std::string utc_stamp(utc_time t);

/// errc::io with the system's reason for errno.
error system_error(std::string what, int number);

/// Something of this name is there; false also where that cannot be known.
bool path_exists(const std::filesystem::path& path);
/// Names in a directory, in order; none when it does not exist.
result<std::vector<std::string>> names_in(const std::filesystem::path& directory);

/// Makes `directory` (0700) with its parents; bad_config when it is there and not a directory of
/// ours.
result<void> make_private_directory(const std::filesystem::path& directory);

/// Whole content of a file of at most `max_bytes`. file_not_found, too_large, io.
result<std::string> read_file(const std::filesystem::path& file, std::size_t max_bytes);

/// Writes a file of mode 0600 in one step: temporary file, fsync, rename, fsync of the directory.
result<void> write_file(const std::filesystem::path& file, std::string_view content);

/// The calls that not every file system knows, each as the system has it: -1 with errno when it
/// fails. Tests put others in their place.
struct disk_calls {
  std::function<int(const char* from, const char* to)> link;       ///< link(2)
  std::function<int(const char* from, const char* to)> rename_new; ///< renameat2(2), NOREPLACE
  std::function<int(int fd)> sync_directory;                       ///< fsync(2)
  disk_calls();
};

/// Makes the names in a directory durable, where its file system has a way to do so.
result<void> sync_directory(const std::filesystem::path& directory, const disk_calls& calls = {});

/// Makes a finished file durable and renames it to its place, also on a file system without hard
/// links (most of backup media); errc::exists when that is taken. After an error it
/// is not at `to`.
result<void> publish_file(const std::filesystem::path& part, const std::filesystem::path& to,
                          const disk_calls& calls = {});

} // namespace skep::storage
