#include "host/state.hpp"

#include "messages/ids.hpp"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::host {

result<state_dir> open_state(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("mkdir " + path);
  auto root = open_dir(AT_FDCWD, path);
  if (!root) return root.err();
  state_dir out;
  out.path = path;
  out.root = std::move(*root);
  for (const char* name : {"holders", "sandboxes"}) {
    if (auto r = make_dir(out.root.get(), name, 0700); !r) return r.err();
    auto fd = open_dir(out.root.get(), name);
    if (!fd) return fd.err();
    (std::string_view{name} == "holders" ? out.holders : out.sandboxes) = std::move(*fd);
  }
  return out;
}

result<unique_fd> lock_state(const state_dir& state) {
  unique_fd fd{::openat(state.root.get(), "host.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!fd) return system_error("open host.lock");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return make_error(errc::exists, "another skep-host serves " + state.path);
    return system_error("lock host.lock");
  }
  return fd;
}

std::vector<std::string> list_holders(const state_dir& state) {
  std::vector<std::string> out;
  auto* list = ::fdopendir(::openat(state.holders.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!list) return out;
  while (auto* entry = ::readdir(list))
    if (valid_id(entry->d_name, "")) out.emplace_back(entry->d_name);
  ::closedir(list);
  return out;
}

result<unique_fd> claim_holder(const state_dir& state, const std::string& id) {
  if (::mkdirat(state.holders.get(), id.c_str(), 0700) != 0) {
    if (errno == EEXIST) return make_error(errc::exists, "sandbox " + id);
    return system_error("mkdir " + id);
  }
  auto fd = open_dir(state.holders.get(), id);
  if (!fd) return fd.err();
  // A host that sweeps at this very moment may be first; then this holder gives way.
  if (::flock(fd->get(), LOCK_EX | LOCK_NB) != 0)
    return make_error(errc::exists, "sandbox " + id + " is being swept");
  return fd;
}

result<void> remove_holder(const state_dir& state, const std::string& id,
                           const std::atomic<bool>* stop) {
  auto home = remove_tree(state.sandboxes.get(), id, stop);
  return home ? remove_tree(state.holders.get(), id, stop) : home;
}

result<unique_fd> claim_remains(const state_dir& state, const std::string& id) {
  unique_fd fd{::openat(state.holders.get(), id.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return unique_fd{};
    // No descriptor left, say, is no evidence: the home of one that lives would be removed.
    return make_error(errc::exists, "sandbox " + id, errno_text(errno));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return make_error(errc::exists, "sandbox " + id);
  return fd;
}

sweep_outcome sweep_claimed(const state_dir& state, const std::string& id, const unique_fd& claim,
                            const std::atomic<bool>* stop) {
  // The holder removes its own directory last; what lies in sandboxes/ without one is rubbish.
  auto removed =
      claim ? remove_holder(state, id, stop) : remove_tree(state.sandboxes.get(), id, stop);
  return removed ? sweep_outcome::swept : sweep_outcome::leftover;
}

sweep_outcome sweep_holder(const state_dir& state, const std::string& id) {
  auto claim = claim_remains(state, id);
  return claim ? sweep_claimed(state, id, *claim) : sweep_outcome::alive;
}

} // namespace skep::host
