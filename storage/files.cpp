#include "storage/files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::storage {

unique_fd& unique_fd::operator=(unique_fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

unique_fd::~unique_fd() {
  if (fd_ >= 0) ::close(fd_);
}

utc_time now() {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

std::string utc_stamp(utc_time t) {
  auto seconds = std::chrono::system_clock::to_time_t(t);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::string out{text, std::strftime(text, sizeof text, "%Y%m%dT%H%M%S", &parts)};
  auto ms = std::to_string(1000 + t.time_since_epoch().count() % 1000);
  return out + "." + ms.substr(1) + "Z";
}

error system_error(std::string what, int number) {
  return make_error(number == ENOSPC || number == EDQUOT ? errc::disk_full : errc::io,
                    std::move(what), std::strerror(number));
}

bool path_exists(const std::filesystem::path& path) {
  struct stat s {};
  return ::lstat(path.c_str(), &s) == 0;
}

result<std::vector<std::string>> names_in(const std::filesystem::path& directory) {
  std::vector<std::string> out;
  std::error_code failed;
  std::filesystem::directory_iterator i{directory, failed};
  for (; !failed && i != std::filesystem::directory_iterator{}; i.increment(failed))
    out.push_back(i->path().filename().string());
  if (failed && failed != std::errc::no_such_file_or_directory)
    return make_error(errc::io, directory.string(), failed.message());
  std::sort(out.begin(), out.end());
  return out;
}

result<void> make_private_directory(const std::filesystem::path& directory) {
  if (directory.has_parent_path() && directory.parent_path() != directory) {
    struct stat parent {};
    if (::stat(directory.parent_path().c_str(), &parent) != 0) {
      auto made = make_private_directory(directory.parent_path());
      if (!made) return made;
    }
  }
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return system_error("cannot make the directory " + directory.string(), errno);
  struct stat s {};
  if (::lstat(directory.c_str(), &s) != 0) return system_error(directory.string(), errno);
  if (!S_ISDIR(s.st_mode))
    return make_error(errc::bad_config, directory.string() + " is not a directory");
  if (s.st_uid != ::geteuid())
    return make_error(errc::bad_config, directory.string() + " belongs to another user");
  if ((s.st_mode & 0077) != 0 && ::chmod(directory.c_str(), 0700) != 0)
    return system_error("cannot make private: " + directory.string(), errno);
  return {};
}

result<std::string> read_file(const std::filesystem::path& file, std::size_t max_bytes) {
  unique_fd fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd && errno == ENOENT) return make_error(errc::file_not_found, file.string());
  if (!fd) return system_error("cannot open " + file.string(), errno);
  std::string out;
  char block[4096];
  for (;;) {
    auto n = ::read(fd.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot read " + file.string(), errno);
    if (n == 0) return out;
    out.append(block, static_cast<std::size_t>(n));
    if (out.size() > max_bytes) return make_error(errc::too_large, file.string());
  }
}

disk_calls::disk_calls()
    : link([](const char* from, const char* to) { return ::link(from, to); }),
      rename_new([](const char* from, const char* to) {
        return ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
      }),
      sync_directory([](int fd) { return ::fsync(fd); }) {}

result<void> sync_directory(const std::filesystem::path& directory, const disk_calls& calls) {
  unique_fd fd{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return system_error("cannot make durable: " + directory.string(), errno);
  // Some file systems sync no directory: EINVAL and ENOTSUP say that, and nothing of a failure.
  if (calls.sync_directory(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    return system_error("cannot make durable: " + directory.string(), errno);
  return {};
}

namespace {

result<void> write_all(int fd, std::string_view content, const std::filesystem::path& file) {
  while (!content.empty()) {
    auto n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("cannot write " + file.string(), errno);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(fd) != 0) return system_error("cannot make durable: " + file.string(), errno);
  return {};
}

} // namespace

result<void> write_file(const std::filesystem::path& file, std::string_view content) {
  auto part = file.parent_path() / ("." + file.filename().string() + "." + random_token(8));
  unique_fd fd{::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return system_error("cannot make " + part.string(), errno);
  auto done = write_all(fd.get(), content, part);
  if (done && ::rename(part.c_str(), file.c_str()) != 0)
    done = system_error("cannot put in place: " + file.string(), errno);
  if (!done) {
    ::unlink(part.c_str());
    return done;
  }
  return sync_directory(file.parent_path());
}

namespace {

/// Gives `part` the name `to` without replacing a file that came in between: the errno of what
/// failed, or 0. Each way is for file systems that do not know the one before.
int rename_to_free(const char* part, const char* to, const disk_calls& calls) {
  if (calls.link(part, to) == 0) {
    ::unlink(part);
    return 0;
  }
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return errno;
  if (calls.rename_new(part, to) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // Whoever makes the name has it.
  unique_fd ours{::open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
  if (!ours) return errno;
  if (::rename(part, to) == 0) return 0;
  auto failure = errno;
  ::unlink(to);
  return failure;
}

} // namespace

result<void> publish_file(const std::filesystem::path& part, const std::filesystem::path& to,
                          const disk_calls& calls) {
  {
    unique_fd fd{::open(part.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd || ::fsync(fd.get()) != 0)
      return system_error("cannot make durable: " + part.string(), errno);
  }
  if (auto failure = rename_to_free(part.c_str(), to.c_str(), calls); failure != 0) {
    if (failure == EEXIST) return make_error(errc::exists, to.string());
    return system_error("cannot put in place: " + to.string(), failure);
  }
  auto directory = to.has_parent_path() ? to.parent_path() : std::filesystem::path{"."};
  auto durable = sync_directory(directory, calls);
  // It may be gone after a power cut: no copy is better than one that somebody counts on.
  if (!durable) ::unlink(to.c_str());
  return durable;
}

} // namespace skep::storage
