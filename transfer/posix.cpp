#include "transfer/posix.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {

void unique_fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

error io_error(std::string_view what, int number) {
  auto code = number == ENOSPC || number == EDQUOT ? errc::disk_full : errc::io;
  return make_error(code, std::string{what}, std::strerror(number));
}

result<void> write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    auto n = ::write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return io_error("write", errno);
    }
    data.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

result<std::string> read_file(const std::string& path, std::size_t limit) {
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) {
    if (errno == ENOENT) return make_error(errc::file_not_found, path);
    return io_error(path, errno);
  }
  std::string out;
  char buffer[64 * 1024];
  for (;;) {
    auto n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(path, errno);
    if (n == 0) return out;
    if (out.size() + static_cast<std::size_t>(n) > limit)
      return make_error(errc::too_large, path + " is larger than expected");
    out.append(buffer, static_cast<std::size_t>(n));
  }
}

result<void> write_file_durably(const std::string& path, std::string_view data, unsigned mode) {
  auto tmp = path + ".tmp-" + random_token(8);
  {
    unique_fd fd{::open(tmp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
    if (!fd) return io_error(tmp, errno);
    auto written = write_all(fd.get(), data);
    if (written.ok() && ::fsync(fd.get()) != 0) written = io_error(tmp, errno);
    if (!written) {
      ::unlink(tmp.c_str());
      return written.err();
    }
  }
  if (::rename(tmp.c_str(), path.c_str()) != 0) {
    auto e = io_error(path, errno);
    ::unlink(tmp.c_str());
    return e;
  }
  auto slash = path.rfind('/');
  auto parent = slash == std::string::npos ? std::string{"."} : path.substr(0, slash + 1);
  unique_fd dir{::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!dir || ::fsync(dir.get()) != 0) return io_error(parent, errno);
  return {};
}

result<void> put_on_disk(const std::string& dir) {
  unique_fd fd{::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd || ::syncfs(fd.get()) != 0) return io_error(dir, errno);
  return {};
}

bool tells_of_full_disk(const error& e) {
  for (int number : {ENOSPC, EDQUOT})
    if (e.cause.find(::strerrordesc_np(number)) != e.cause.npos) return true;
  return e.code == errc::disk_full;
}

result<void> make_dirs(const std::string& path) {
  for (std::size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    auto part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return io_error(part, errno);
  }
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return io_error(path, errno);
  if (!S_ISDIR(st.st_mode)) return io_error(path, ENOTDIR);
  return {};
}

void remove_tree(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

result<temp_dir> temp_dir::make(const std::string& parent) {
  auto base = parent;
  if (base.empty()) {
    const char* tmp = std::getenv("TMPDIR");
    base = tmp && *tmp ? tmp : "/tmp";
  }
  auto name = base + "/skep-XXXXXX";
  if (!::mkdtemp(name.data())) return io_error(name, errno);
  return temp_dir{std::move(name)};
}

temp_dir::~temp_dir() {
  if (!path_.empty()) remove_tree(path_);
}

int ms_until(steady_time deadline) {
  auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 24 * 3600 * 1000));
}

} // namespace skep::transfer
