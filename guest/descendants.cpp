#include "guest/descendants.hpp"

#include "transfer/posix.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <memory>
#include <set>
#include <string>
#include <unistd.h>

namespace skep::guest {
namespace {

struct process {
  pid_t pid = 0, parent = 0;
};

/// "PID (NAME) STATE PPID ..."; the name may hold anything, so count from the last ')'. Zombies are
/// left out: no signal reaches them.
bool read_process(const char* name, process& out) {
  auto text = transfer::read_file(std::string{"/proc/"} + name + "/stat", 64 * 1024);
  if (!text) return false;
  auto close = text->rfind(')');
  if (close == text->npos || close + 4 >= text->size() || (*text)[close + 2] == 'Z') return false;
  out.pid = static_cast<pid_t>(std::strtol(name, nullptr, 10));
  out.parent = static_cast<pid_t>(std::strtol(text->c_str() + close + 4, nullptr, 10));
  return true;
}

} // namespace

std::vector<pid_t> descendants_of(pid_t root) {
  std::vector<process> all;
  std::unique_ptr<DIR, int (*)(DIR*)> dir{::opendir("/proc"), ::closedir};
  while (dir) {
    auto* e = ::readdir(dir.get());
    if (!e) break;
    process p;
    if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && read_process(e->d_name, p)) all.push_back(p);
  }
  std::vector<pid_t> out;
  std::set<pid_t> known{root};
  for (bool grown = true; grown;) {
    grown = false;
    for (const auto& p : all)
      if (known.contains(p.parent) && known.insert(p.pid).second) {
        out.push_back(p.pid);
        grown = true;
      }
  }
  return out;
}

std::size_t signal_descendants(int signal) {
  std::size_t count = 0;
  std::set<pid_t> seen;
  for (int round = 0; round < 20; ++round) {
    auto list = descendants_of(::getpid());
    count = list.size();
    bool fresh = false;
    for (auto pid : list) {
      ::kill(pid, signal);
      fresh = seen.insert(pid).second || fresh;
    }
    if ((signal != SIGKILL && signal != SIGSTOP) || !fresh) break;
  }
  return count;
}

} // namespace skep::guest
