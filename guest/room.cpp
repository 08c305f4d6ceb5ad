#include "guest/room.hpp"

#include "transfer/posix.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace skep::guest {
namespace {

namespace fs = std::filesystem;

/// In a borrowed folder: a link to the link that leads to it. Made last, so that one without it may
/// be in the making.
constexpr const char* mark = "/.for";

bool same_folder(const std::string& a, const std::string& b) {
  struct stat one {};
  struct stat other {};
  return ::stat(a.c_str(), &one) == 0 && ::stat(b.c_str(), &other) == 0
         && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/// Of an absolute path the shortest beginning that is not there; empty when all of it is.
std::string first_missing(const std::string& path) {
  for (std::size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    auto part = path.substr(0, at);
    struct stat st {};
    if (::lstat(part.c_str(), &st) != 0 && errno == ENOENT) return part;
  }
  return {};
}

/// What is in `parent` and was led to by a link that is gone.
void remove_forgotten(const std::string& parent) {
  std::error_code failed;
  std::vector<std::string> forgotten;
  for (fs::directory_iterator at{parent, failed}, end; !failed && at != end; at.increment(failed)) {
    auto spare = at->path().string();
    std::error_code unmarked;
    auto link = fs::read_symlink(spare + mark, unmarked);
    if (!unmarked && !same_folder(link.string(), spare)) forgotten.push_back(spare);
  }
  for (const auto& spare : forgotten)
    transfer::remove_tree(spare);
}

/// The folder in `on` that ours are in; nobody else's, for /tmp may be everybody's.
result<std::string> parent_at(const std::string& on) {
  auto parent = on + "/skep-out-" + std::to_string(::geteuid());
  if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST)
    return transfer::io_error(parent, errno);
  struct stat st {};
  if (::lstat(parent.c_str(), &st) != 0) return transfer::io_error(parent, errno);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid())
    return make_error(errc::io, parent + " is no folder of ours");
  return parent;
}

} // namespace

place look_for_room(const std::string& folder) {
  place out{folder};
  auto at = folder;
  struct stat st {};
  while (::stat(at.c_str(), &st) != 0 && at.size() > 1) {
    auto slash = at.rfind('/');
    at.resize(slash == at.npos || slash == 0 ? 1 : slash);
  }
  out.disk = st.st_dev;
  struct statvfs disk {};
  if (::access(at.c_str(), W_OK | X_OK) == 0 && ::statvfs(at.c_str(), &disk) == 0)
    out.room = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  return out;
}

std::vector<place> spare_places() {
  const char* told = std::getenv("TMPDIR");
  std::vector<place> out;
  struct stat st {};
  for (const char* folder : {told ? told : "", "/tmp", "/dev/shm"})
    if (folder[0] == '/' && ::stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
      out.push_back(look_for_room(folder));
  return out;
}

std::vector<place> by_room(place usual, const std::vector<place>& others, std::uint64_t enough) {
  std::vector<place> out{std::move(usual)};
  for (const auto& other : others)
    if (other.room > 0 && std::none_of(out.begin(), out.end(), [&](const place& before) {
          return before.disk == other.disk;
        }))
      out.push_back(other);
  std::stable_sort(out.begin(), out.end(), [enough](const place& a, const place& b) {
    return std::min(a.room, enough) > std::min(b.room, enough);
  });
  return out;
}

std::string scratch_place() {
  auto places = spare_places();
  return places.empty() ? std::string{} : by_room(places.front(), places).front().folder;
}

borrowed_folder::~borrowed_folder() {
  if (!link_.empty()) ::unlink(link_.c_str());
  if (!spare_.empty()) transfer::remove_tree(spare_);
}

result<void> borrowed_folder::make(const std::string& folder, const std::string& on) {
  auto parent = parent_at(on);
  if (!parent) return parent.err();
  remove_forgotten(*parent);
  ::rmdir(folder.c_str()); // one that holds something stays, and there is no place for a link
  auto link = first_missing(folder);
  if (link.empty()) return transfer::io_error(folder, ENOTEMPTY);
  auto spare = *parent + "/XXXXXX";
  if (!::mkdtemp(spare.data())) return transfer::io_error(spare, errno);
  spare_ = spare;
  if (::symlink(spare.c_str(), link.c_str()) != 0) return transfer::io_error(link, errno);
  link_ = link;
  if (::symlink(link.c_str(), (spare + mark).c_str()) != 0) return transfer::io_error(spare, errno);
  return transfer::make_dirs(folder);
}

void borrowed_folder::keep() {
  link_.clear();
  spare_.clear();
}

} // namespace skep::guest
