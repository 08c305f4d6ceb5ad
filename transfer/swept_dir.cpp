#include "transfer/swept_dir.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace skep::transfer {
namespace {

constexpr std::size_t temp_letters = 6; // as mkdtemp(3) has them
constexpr mode_t swept_bits = S_ISVTX | 0700;

/// The folder by this name when it is one of ours that nobody holds, its lock held from here on;
/// else none.
unique_fd take_abandoned(int parent, const std::string& name) {
  unique_fd fd{::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  struct stat facts {};
  // Group inheritance comes from the folder above, and says nothing.
  bool ours = fd && ::fstat(fd.get(), &facts) == 0 && facts.st_uid == ::geteuid()
              && (facts.st_mode & 07777 & ~mode_t{S_ISGID}) == swept_bits
              && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && is_still_at(parent, name, fd.get());
  return ours ? std::move(fd) : unique_fd{};
}

} // namespace

std::string temp_template(std::string_view prefix) {
  return std::string{prefix} + std::string(temp_letters, 'X');
}

bool is_temp_name(std::string_view name, std::string_view prefix) {
  auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.size() != prefix.size() + temp_letters || !name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return std::all_of(name.begin(), name.end(), letter);
}

bool is_still_at(int root, const std::string& name, int held) {
  struct stat by_name {};
  struct stat by_handle {};
  return ::fstatat(root, name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW) == 0
         && ::fstat(held, &by_handle) == 0 && by_name.st_dev == by_handle.st_dev
         && by_name.st_ino == by_handle.st_ino;
}

void remove_abandoned(const std::string& parent, std::string_view prefix) {
  unique_fd folder{::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!folder) return;
  std::vector<std::string> names;
  std::error_code ignored;
  for (std::filesystem::directory_iterator i{parent, ignored}, end; !ignored && i != end;
       i.increment(ignored))
    if (auto name = i->path().filename().string(); is_temp_name(name, prefix))
      names.push_back(std::move(name));
  for (const auto& name : names)
    if (auto held = take_abandoned(folder.get(), name)) remove_tree(parent + "/" + name);
}

result<swept_dir> swept_dir::make(const std::string& parent, std::string_view prefix) {
  remove_abandoned(parent, prefix);
  auto path = parent + "/" + temp_template(prefix);
  if (!::mkdtemp(path.data())) return io_error(path, errno);
  swept_dir out{std::move(path)};
  if (auto claimed = out.claim(); !claimed) return claimed.err();
  return out;
}

// Locked before it is marked: what has the mark and no lock has no holder. One without the mark is
// never removed by others, as where a file system has no locks.
result<void> swept_dir::claim() {
  lock_ = unique_fd{::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  struct stat facts {};
  if (!lock_ || ::fstat(lock_.get(), &facts) != 0) return io_error(path_, errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0)
    static_cast<void>(::fchmod(lock_.get(), swept_bits | (facts.st_mode & S_ISGID)));
  unique_fd ignore{
      ::openat(lock_.get(), ".gitignore", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!ignore) return io_error(path_ + "/.gitignore", errno);
  return write_all(ignore.get(), "*\n");
}

swept_dir::~swept_dir() {
  if (!path_.empty()) remove_tree(path_);
}

} // namespace skep::transfer
