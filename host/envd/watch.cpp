#include "host/envd/watch.hpp"

#include "host/envd/connect_rpc.hpp"
#include "host/envd/entry_info.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <linux/magic.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace skep::envd {

namespace {
constexpr std::size_t queue_limit_events = 16'384;
constexpr std::uint32_t wanted = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MODIFY
                                 | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

std::string joined(const std::string& directory, const std::string& name) {
  if (name.empty()) return directory;
  if (directory.empty()) return name;
  return directory.ends_with('/') ? directory + name : directory + '/' + name;
}

bool on_network(const std::string& path) {
  constexpr std::array<std::uint32_t, 5> kinds = {
      NFS_SUPER_MAGIC, 0x65735546U /* FUSE */, 0xFF534D42U /* CIFS */, SMB_SUPER_MAGIC, V9FS_MAGIC};
  struct statfs fs {};
  if (::statfs(path.c_str(), &fs) != 0) return false;
  return std::find(kinds.begin(), kinds.end(), static_cast<std::uint32_t>(fs.f_type))
         != kinds.end();
}

/// Names in a directory and whether each is a directory itself; links are not followed.
std::vector<std::pair<std::string, bool>> names_in(const std::string& path) {
  std::vector<std::pair<std::string, bool>> out;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return out;
  while (auto* e = ::readdir(dir.get())) {
    std::string name = e->d_name;
    if (name == "." || name == "..") continue;
    bool directory = e->d_type == DT_DIR;
    if (e->d_type == DT_UNKNOWN) {
      struct stat st {};
      directory = ::lstat(joined(path, name).c_str(), &st) == 0 && S_ISDIR(st.st_mode);
    }
    out.emplace_back(std::move(name), directory);
  }
  std::sort(out.begin(), out.end());
  return out;
}
} // namespace

std::shared_ptr<watcher> watch_hub::watch(const std::string& directory, bool recursive,
                                          bool include_entry, bool allow_network) {
  struct stat st {};
  if (::stat(directory.c_str(), &st) != 0)
    fail(rpc_code::not_found, "path " + directory + " not found: " + std::strerror(errno));
  if (!S_ISDIR(st.st_mode))
    fail(rpc_code::invalid_argument, "path " + directory + " not a directory");
  if (!allow_network && on_network(directory))
    fail(rpc_code::invalid_argument, "path " + directory + " is on a network mount");
  if (!events_.is_open()) open();
  auto w = std::make_shared<watcher>(io_, directory, recursive, include_entry);
  add(w, {}, false);
  return w;
}

void fail_lost() {
  fail(rpc_code::resource_exhausted, "more happened in the watched directory than was taken");
}

std::shared_ptr<const std::string> watcher::next() {
  if (queue.empty()) return nullptr;
  auto text =
      std::make_shared<const std::string>(envelope(0, dump(json{{"filesystem", queue.front()}})));
  queue.pop_front();
  return text;
}

bool watcher::complete() const {
  if (lost) fail_lost();
  return false;
}

void watch_hub::end(const std::shared_ptr<watcher>& w) {
  forget(w, {});
}

void watch_hub::drop_all() {
  for (auto& [wd, list] : places_)
    for (auto& [weak, name] : list)
      if (auto w = weak.lock()) w->let_go();
}

void watch_hub::open() {
  int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0)
    fail(rpc_code::resource_exhausted, std::string{"cannot watch: "} + std::strerror(errno));
  events_.assign(fd);
  await();
}

void watch_hub::await() {
  events_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code ec) {
    if (ec) return;
    read_events();
    await();
  });
}

void watch_hub::read_events() {
  alignas(inotify_event) std::array<char, 65536> block;
  for (;;) {
    auto size = ::read(events_.native_handle(), block.data(), block.size());
    if (size <= 0) return;
    for (ssize_t at = 0; at < size;) {
      inotify_event e;
      std::memcpy(&e, block.data() + at, sizeof e);
      const char* name = block.data() + at + sizeof e;
      dispatch(e.wd, e.mask, e.len > 0 ? std::string{name} : std::string{});
      at += static_cast<ssize_t>(sizeof e + e.len);
    }
  }
}

// Watches `name` below the root and, recursively, what is in it; `tell`: what is found there is
// new.
void watch_hub::add(const std::shared_ptr<watcher>& w, const std::string& name, bool tell_found) {
  auto path = joined(w->root, name);
  // A link in the middle of a tree is not followed; a watched link is.
  auto flags = wanted | (name.empty() ? 0U : static_cast<std::uint32_t>(IN_DONT_FOLLOW));
  int wd = ::inotify_add_watch(events_.native_handle(), path.c_str(), flags);
  if (wd < 0) {
    if (!name.empty()) return; // vanished again, or not ours to see
    fail(errno == ENOSPC ? rpc_code::resource_exhausted : rpc_code::internal,
         "error watching " + path + ": " + std::strerror(errno));
  }
  auto& list = places_[wd];
  std::erase_if(list, [&w](const place& p) {
    auto who = p.first.lock();
    return !who || who == w;
  });
  list.emplace_back(w, name);
  if (!w->recursive) return;
  for (const auto& [entry, directory] : names_in(path)) {
    auto below = joined(name, entry);
    if (tell_found) {
      tell(*w, "EVENT_TYPE_CREATE", below, true);
      w->seen_.insert(below);
    }
    if (directory) add(w, below, tell_found);
  }
}

// Forgets `name` below the root and all under it; everything when `name` is empty.
void watch_hub::forget(const std::shared_ptr<watcher>& w, const std::string& name) {
  auto prefix = name + '/';
  // A directory that comes again under this name may have the same names in it.
  std::erase_if(w->seen_, [&](const std::string& below) { return below.starts_with(prefix); });
  for (auto i = places_.begin(); i != places_.end();) {
    std::erase_if(i->second, [&](const place& p) {
      auto who = p.first.lock();
      return !who
             || (who == w && (name.empty() || p.second == name || p.second.starts_with(prefix)));
    });
    if (i->second.empty()) {
      ::inotify_rm_watch(events_.native_handle(), i->first);
      i = places_.erase(i);
    } else {
      ++i;
    }
  }
}

void watch_hub::dispatch(int wd, std::uint32_t mask, const std::string& name) {
  if (mask & IN_Q_OVERFLOW) {
    for (auto& [other, list] : places_)
      for (auto& [weak, where] : list)
        if (auto w = weak.lock()) {
          w->lost = true;
          w->wake.notify();
        }
    return;
  }
  auto i = places_.find(wd);
  if (i == places_.end()) return;
  if (mask & IN_IGNORED) {
    places_.erase(i);
    return;
  }
  bool directory = mask & IN_ISDIR;
  auto listeners = i->second; // what follows may change the map
  for (const auto& [weak, where] : listeners) {
    auto w = weak.lock();
    if (!w) continue;
    if (name.empty()) {
      // Of the directory itself: below the root its parent tells the same.
      if (!where.empty()) continue;
      if (mask & IN_DELETE_SELF) tell(*w, "EVENT_TYPE_REMOVE", ".", false);
      if (mask & IN_MOVE_SELF) tell(*w, "EVENT_TYPE_RENAME", ".", false);
      if (mask & IN_ATTRIB) tell(*w, "EVENT_TYPE_CHMOD", ".", true);
      continue;
    }
    auto below = joined(where, name);
    if (mask & (IN_CREATE | IN_MOVED_TO)) {
      // What reading its parent found is told and watched already.
      if (w->seen_.erase(below) != 0) continue;
      tell(*w, "EVENT_TYPE_CREATE", below, true);
      if (directory && w->recursive) add(w, below, mask & IN_CREATE);
    }
    if (mask & IN_MODIFY) tell(*w, "EVENT_TYPE_WRITE", below, true);
    if (mask & IN_ATTRIB) tell(*w, "EVENT_TYPE_CHMOD", below, true);
    if (mask & (IN_DELETE | IN_MOVED_FROM)) {
      w->seen_.erase(below);
      tell(*w, mask & IN_DELETE ? "EVENT_TYPE_REMOVE" : "EVENT_TYPE_RENAME", below, false);
      if (directory) forget(w, below);
    }
  }
}

void watch_hub::tell(watcher& w, const char* type, const std::string& name, bool entry) {
  if (w.queue.size() >= queue_limit_events) {
    w.lost = true;
    w.wake.notify();
    return;
  }
  json event{{"name", name}, {"type", type}};
  json info;
  if (entry && w.include_entry && entry_info(user_, joined(w.root, name), info))
    event["entry"] = std::move(info);
  w.queue.push_back(std::move(event));
  w.wake.notify();
}

} // namespace skep::envd
