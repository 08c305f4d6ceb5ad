#include "host/envd/entry_info.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string_view>
#include <sys/xattr.h>

namespace skep::envd {

namespace {
constexpr std::string_view attribute_prefix = "user.e2b.";

const char* type_name(mode_t mode) {
  if (S_ISREG(mode)) return "FILE_TYPE_FILE";
  if (S_ISDIR(mode)) return "FILE_TYPE_DIRECTORY";
  return "FILE_TYPE_UNSPECIFIED";
}

// RFC 3339 with 0, 3, 6 or 9 digits of a second, as protobuf writes it.
std::string timestamp(const timespec& t) {
  tm utc{};
  ::gmtime_r(&t.tv_sec, &utc);
  std::array<char, 32> date;
  auto length = std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::string out(date.data(), length);
  if (t.tv_nsec != 0) {
    std::array<char, 16> digits;
    std::snprintf(digits.data(), digits.size(), "%09ld", t.tv_nsec);
    std::string fraction = digits.data();
    while (fraction.ends_with("000"))
      fraction.resize(fraction.size() - 3);
    out += '.' + fraction;
  }
  return out + 'Z';
}

std::vector<std::string> attribute_names(ssize_t size, const char* list) {
  std::vector<std::string> out;
  for (ssize_t at = 0; at < size;) {
    std::string name = list + at;
    at += static_cast<ssize_t>(name.size()) + 1;
    if (name.starts_with(attribute_prefix)) out.push_back(std::move(name));
  }
  return out;
}
} // namespace

std::string mode_text(mode_t mode) {
  std::string out;
  if (S_ISDIR(mode)) out += 'd';
  if (S_ISLNK(mode)) out += 'L';
  if (S_ISBLK(mode)) out += 'D';
  if (S_ISFIFO(mode)) out += 'p';
  if (S_ISSOCK(mode)) out += 'S';
  if (mode & S_ISUID) out += 'u';
  if (mode & S_ISGID) out += 'g';
  if (S_ISCHR(mode)) out += "Dc";
  if (mode & S_ISVTX) out += 't';
  if (out.empty()) out += '-';
  constexpr std::string_view letters = "rwxrwxrwx";
  for (unsigned i = 0; i < 9; ++i)
    out += mode & 1U << (8 - i) ? letters[i] : '-';
  return out;
}

bool entry_info(account& user, const std::string& path, json& out) {
  struct stat own {};
  if (::lstat(path.c_str(), &own) != 0) return false;
  struct stat shown = own;
  const char* type = nullptr;
  std::string target;
  if (S_ISLNK(own.st_mode)) {
    std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free);
    if (resolved) target = resolved.get();
    if (::stat(path.c_str(), &shown) != 0) {
      shown.st_mode = 0;
      type = "FILE_TYPE_UNSPECIFIED";
    }
  }
  if (!type) type = type_name(shown.st_mode);
  auto slash = path.rfind('/');
  out = json::object();
  out["name"] = path == "/" ? std::string{"/"} : path.substr(slash + 1);
  out["type"] = type;
  out["path"] = path;
  if (own.st_size > 0) out["size"] = std::to_string(own.st_size);
  if (auto bits = shown.st_mode & 0777; bits != 0) out["mode"] = bits;
  out["permissions"] = mode_text(own.st_mode);
  out["owner"] = user.user_name(own.st_uid);
  out["group"] = user.group_name(own.st_gid);
  out["modifiedTime"] = timestamp(own.st_mtim);
  if (!target.empty()) out["symlinkTarget"] = target;
  if (S_ISREG(own.st_mode))
    for (const auto& [key, value] : read_metadata(path))
      out["metadata"][key] = value;
  return true;
}

metadata read_metadata(const std::string& path) {
  metadata out;
  std::array<char, 16384> list;
  auto size = ::llistxattr(path.c_str(), list.data(), list.size());
  for (const auto& name : attribute_names(size, list.data())) {
    std::array<char, 4096> value;
    auto n = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (n >= 0)
      out.emplace_back(name.substr(attribute_prefix.size()),
                       std::string(value.data(), static_cast<std::size_t>(n)));
  }
  return out;
}

bool write_metadata(int fd, const metadata& all) {
  std::array<char, 16384> list;
  auto size = ::flistxattr(fd, list.data(), list.size());
  for (const auto& name : attribute_names(size, list.data()))
    ::fremovexattr(fd, name.c_str());
  for (const auto& [key, value] : all) {
    auto name = std::string{attribute_prefix} + key;
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0) return false;
  }
  return true;
}

} // namespace skep::envd
