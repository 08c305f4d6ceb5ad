// filesystem.Filesystem without its watchers.
#include "host/envd/entry_info.hpp"
#include "host/envd/handlers.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <filesystem>
#include <memory>
#include <sys/stat.h>

namespace skep::envd {

namespace {
namespace fs = std::filesystem;
constexpr std::size_t list_limit_entries = 200'000;

std::string path_of(services& s, const json& request, std::string_view field) {
  std::string out;
  if (!s.user.resolve(get_string(request, field), out))
    fail(rpc_code::invalid_argument, "field " + std::string{field} + " is no path of this user");
  return out;
}

std::string reason(int number) {
  std::string text = std::strerror(number);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z')
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  return text;
}

[[noreturn]] void fail_with_errno(const char* what, const std::string& path, int number) {
  auto text = std::string{what} + ' ' + path + ": " + reason(number);
  if (number == ENOENT || number == ENOTDIR) fail(rpc_code::not_found, "file not found: " + text);
  if (number == ELOOP) fail(rpc_code::failed_precondition, text);
  if (number == EACCES || number == EPERM) fail(rpc_code::permission_denied, text);
  fail(rpc_code::internal, text);
}

json entry_answer(services& s, const std::string& path) {
  json entry;
  if (!entry_info(s.user, path, entry)) fail_with_errno("lstat", path, errno);
  return json{{"entry", std::move(entry)}};
}

// Creates `path` and its parents with mode 0755. On failure errno is set.
bool make_directories(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    auto part = path.substr(0, at);
    if (at != std::string::npos) ++at;
    struct stat st {};
    if (::stat(part.c_str(), &st) == 0) {
      if (S_ISDIR(st.st_mode)) continue;
      errno = ENOTDIR;
      return false;
    }
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) return false;
  }
  return true;
}

// Entries below `real`, shown as below `shown`, in lexical order, depth first. Links are not
// followed.
void list(services& s, const std::string& shown, std::int64_t depth, json& out) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(shown.c_str()), ::closedir);
  if (!dir) return; // vanished, or not readable by this user: shown without its entries
  std::vector<std::string> names;
  while (auto* e = ::readdir(dir.get())) {
    std::string name = e->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  dir.reset();
  std::sort(names.begin(), names.end());
  for (const auto& name : names) {
    if (out.size() >= list_limit_entries)
      fail(rpc_code::resource_exhausted, "the directory has too many entries");
    auto path = shown == "/" ? "/" + name : shown + '/' + name;
    json entry;
    if (!entry_info(s.user, path, entry)) continue;
    bool link = entry["permissions"].get_ref<const std::string&>()[0] == 'L';
    bool directory = !link && entry["type"] == "FILE_TYPE_DIRECTORY";
    out.push_back(std::move(entry));
    if (directory && depth > 1) list(s, path, depth - 1, out);
  }
}

} // namespace

bool make_parents(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos || make_directories(path.substr(0, slash));
}

task<json> filesystem_stat(services& s, json request) {
  co_return entry_answer(s, path_of(s, request, "path"));
}

task<json> filesystem_list_dir(services& s, json request) {
  auto path = path_of(s, request, "path");
  auto depth = std::max<std::int64_t>(get_int(request, "depth"), 1);
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) fail_with_errno("stat", path, errno);
  if (!S_ISDIR(st.st_mode)) fail(rpc_code::invalid_argument, "path is not a directory: " + path);
  json entries = json::array();
  list(s, path, depth, entries);
  json out = json::object();
  if (!entries.empty()) out["entries"] = std::move(entries);
  co_return out;
}

task<json> filesystem_make_dir(services& s, json request) {
  auto path = path_of(s, request, "path");
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) fail(rpc_code::already_exists, "directory already exists: " + path);
    fail(rpc_code::invalid_argument, "path already exists but it is not a directory: " + path);
  }
  if (!make_directories(path)) {
    if (errno == ENOTDIR)
      fail(rpc_code::invalid_argument, "a parent of " + path + " is not a directory");
    fail_with_errno("mkdir", path, errno);
  }
  co_return entry_answer(s, path);
}

task<json> filesystem_move(services& s, json request) {
  auto source = path_of(s, request, "source");
  auto destination = path_of(s, request, "destination");
  struct stat st {};
  if (::lstat(source.c_str(), &st) != 0) fail_with_errno("lstat", source, errno);
  if (!make_parents(destination) || ::rename(source.c_str(), destination.c_str()) != 0) {
    int number = errno;
    fail(rpc_code::internal,
         "error renaming " + source + " to " + destination + ": " + reason(number));
  }
  co_return entry_answer(s, destination);
}

task<json> filesystem_remove(services& s, json request) {
  auto path = path_of(s, request, "path");
  std::error_code ec;
  fs::remove_all(path, ec);
  if (ec && ec != std::errc::no_such_file_or_directory && ec != std::errc::not_a_directory)
    fail(rpc_code::internal, "error removing " + path + ": " + ec.message());
  co_return json::object();
}

} // namespace skep::envd
