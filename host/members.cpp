#include "host/members.hpp"

#include "host/posix.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string_view>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace skep::host {
namespace {

std::uint64_t namespace_of(pid_t pid) {
  std::array<char, 64> path;
  std::snprintf(path.data(), path.size(), "/proc/%d/ns/pid", pid);
  struct stat st {};
  return ::stat(path.data(), &st) == 0 ? static_cast<std::uint64_t>(st.st_ino) : 0;
}

struct process_stat {
  char state = '?';
  pid_t parent = -1;
};

// State and parent stand behind the name, which may hold anything.
process_stat stat_of(pid_t pid) {
  std::array<char, 512> text;
  std::snprintf(text.data(), text.size(), "/proc/%d/stat", pid);
  int fd = ::open(text.data(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  auto n = ::read(fd, text.data(), text.size());
  ::close(fd);
  if (n <= 0) return {};
  std::string_view line{text.data(), static_cast<std::size_t>(n)};
  auto at = line.rfind(')');
  if (at == line.npos || at + 4 >= line.size()) return {};
  process_stat out;
  out.state = line[at + 2];
  std::from_chars(line.data() + at + 4, line.data() + line.size(), out.parent);
  return out;
}

template <class F>
void each_process(F f) {
  std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  while (auto* e = proc ? ::readdir(proc.get()) : nullptr) {
    std::string_view name = e->d_name;
    pid_t pid = 0;
    auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (ec == std::errc{} && end == name.data() + name.size()) f(pid);
  }
}

} // namespace

result<std::uint64_t> inner_pid_namespace(pid_t bubblewrap) {
  auto own = namespace_of(bubblewrap);
  std::uint64_t found = 0;
  each_process([&](pid_t pid) {
    if (found != 0 || stat_of(pid).parent != bubblewrap) return;
    auto inner = namespace_of(pid);
    if (inner != own) found = inner;
  });
  if (found == 0) return make_error(errc::gone, "the sandbox's processes are not to be found");
  return found;
}

std::vector<member> members_of(std::uint64_t pid_namespace) {
  std::vector<member> out;
  each_process([&](pid_t pid) {
    if (namespace_of(pid) == pid_namespace) out.push_back({pid, stat_of(pid).state});
  });
  std::sort(out.begin(), out.end(), [](const member& a, const member& b) { return a.pid < b.pid; });
  return out;
}

// The handle is opened first, so that what is asked about the pid afterwards is true of the process
// behind the handle, or of a later one that the handle does not mean.
bool signal_member(pid_t pid, std::uint64_t pid_namespace, int signal) {
  unique_fd handle{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  auto unknown = !handle && (errno == ENOSYS || errno == EPERM); // an old or guarded kernel
  if (!handle && !unknown) return false;
  if (namespace_of(pid) != pid_namespace) return false;
  if (unknown) return ::kill(pid, signal) == 0;
  return ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0) == 0;
}

} // namespace skep::host
