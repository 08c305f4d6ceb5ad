#include "transfer/parts.hpp"

#include "transfer/posix.hpp"
#include "transfer/sha256.hpp"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::transfer {

result<std::vector<file_part>> parts_of(const std::string& file, std::uint64_t part_bytes) {
  unique_fd in{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!in) return io_error(file, errno);
  std::vector<file_part> out;
  std::string buffer(256 * 1024, '\0');
  file_part part;
  sha256 hash;
  auto end_part = [&] {
    part.sha256 = hash.hex();
    out.push_back(part);
    part = {part.offset + part.bytes, 0, {}};
    hash = sha256{};
  };
  for (;;) {
    auto room = std::min<std::uint64_t>(buffer.size(), part_bytes - part.bytes);
    auto n = ::read(in.get(), buffer.data(), static_cast<std::size_t>(room));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(file, errno);
    if (n == 0) break;
    hash.update({buffer.data(), static_cast<std::size_t>(n)});
    part.bytes += static_cast<std::uint64_t>(n);
    if (part.bytes == part_bytes) end_part();
  }
  if (part.bytes > 0 || out.empty()) end_part();
  return out;
}

std::string part_name(const std::string& name, std::size_t index) {
  auto digits = std::to_string(index + 1);
  return name + "." + std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

result<json> list_parts(const std::string& dir) {
  json out = json::object();
  auto& list = out["parts"] = json::array();
  std::unique_ptr<DIR, int (*)(DIR*)> open{::opendir(dir.c_str()), ::closedir};
  if (!open) {
    if (errno == ENOENT) return out;
    return io_error(dir, errno);
  }
  while (auto* entry = ::readdir(open.get())) {
    auto path = dir + "/" + entry->d_name;
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    auto hash = sha256_of_file(path);
    if (!hash) return hash.err();
    json part = json::object();
    part["name"] = entry->d_name;
    part["size_bytes"] = static_cast<std::uint64_t>(st.st_size);
    part["sha256"] = *hash;
    list.push_back(std::move(part));
  }
  return out;
}

} // namespace skep::transfer
