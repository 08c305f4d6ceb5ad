#include "host/cgroups.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace skep::host {
namespace {

constexpr std::array<std::string_view, 3> controllers = {"cpu", "memory", "pids"};
constexpr std::int64_t period_us = 100'000;

bool listed(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    auto end = list.find(',');
    if (list.substr(0, end) == word) return true;
    list = end == list.npos ? std::string_view{} : list.substr(end + 1);
  }
  return false;
}

// Where version 1 of `controller` is mounted; empty when it is not.
std::string mount_of(std::string_view controller) {
  std::ifstream mounts("/proc/self/mounts");
  std::string device, where, kind, options, rest;
  while (mounts >> device >> where >> kind >> options && std::getline(mounts, rest))
    if (kind == "cgroup" && listed(options, controller)) return where;
  return {};
}

// Our own group of version 1 of `controller`: lines "4:memory:/some/path".
std::string own_group(std::string_view controller) {
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    auto first = line.find(':');
    auto second = line.find(':', first + 1);
    if (second == line.npos) continue;
    if (listed(std::string_view{line}.substr(first + 1, second - first - 1), controller))
      return line.substr(second + 1);
  }
  return {};
}

bool put(const std::string& path, const std::string& value) {
  unique_fd fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  return fd && ::write(fd.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

bool apply(std::string_view controller, const std::string& dir, const resource_limits& limits) {
  if (controller == "cpu")
    return put(dir + "/cpu.cfs_period_us", std::to_string(period_us))
           && put(dir + "/cpu.cfs_quota_us", std::to_string(limits.cpus * period_us));
  if (controller == "pids") return put(dir + "/pids.max", std::to_string(limits.pids));
  auto bytes = std::to_string(limits.memory_mb << 20);
  if (!put(dir + "/memory.limit_in_bytes", bytes)) return false;
  // Without it a sandbox swaps where it should be stopped; not every kernel counts swap.
  put(dir + "/memory.memsw.limit_in_bytes", bytes);
  return true;
}

std::int64_t limit_of(std::string_view controller, const resource_limits& limits) {
  return controller == "cpu"      ? limits.cpus
         : controller == "memory" ? limits.memory_mb
                                  : limits.pids;
}

} // namespace

string_map delegate_cgroups(uid_t uid, gid_t gid) {
  string_map out;
  for (auto controller : controllers) {
    auto mount = mount_of(controller);
    auto own = own_group(controller);
    if (mount.empty() || own.empty()) continue;
    auto base = mount + (own == "/" ? "" : own) + "/skep-" + std::to_string(uid);
    if (::mkdir(base.c_str(), 0755) != 0 && errno != EEXIST) continue;
    if (::geteuid() == 0 && ::chown(base.c_str(), uid, gid) != 0) continue;
    struct stat st {};
    if (::stat(base.c_str(), &st) == 0 && st.st_uid == uid) out[std::string{controller}] = base;
  }
  return out;
}

sandbox_cgroups sandbox_cgroups::make(const string_map& bases, const std::string& id,
                                      const resource_limits& limits) {
  sandbox_cgroups out;
  for (auto controller : controllers) {
    auto base = bases.find(std::string{controller});
    if (base == bases.end() || limit_of(controller, limits) <= 0) continue;
    auto dir = base->second + '/' + id;
    if (::mkdir(dir.c_str(), 0755) != 0) continue;
    unique_fd join{::open((dir + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)};
    if (!join || !apply(controller, dir, limits)) {
      ::rmdir(dir.c_str());
      continue;
    }
    out.directories_.push_back(dir);
    out.joins_.push_back(std::move(join));
    out.enforced_.emplace_back(controller);
  }
  return out;
}

std::vector<int> sandbox_cgroups::joins() const {
  std::vector<int> out;
  for (const auto& fd : joins_)
    out.push_back(fd.get());
  return out;
}

void sandbox_cgroups::remove() {
  joins_.clear();
  for (const auto& dir : directories_)
    ::rmdir(dir.c_str());
  directories_.clear();
}

void sweep_cgroups(const string_map& bases, const std::string& id) {
  for (const auto& [controller, base] : bases)
    ::rmdir((base + '/' + id).c_str());
}

} // namespace skep::host
