// GET /metrics and GET /envs.
#include "host/envd/handlers.hpp"

#include <charconv>
#include <ctime>
#include <fstream>
#include <sstream>
#include <sys/statvfs.h>
#include <unistd.h>

namespace skep::envd {

namespace {

/// kB values of /proc/meminfo.
std::uint64_t meminfo_kib(std::string_view text, std::string_view name) {
  auto at = text.find(name);
  if (at == std::string_view::npos) return 0;
  at = text.find_first_of("0123456789", at + name.size());
  if (at == std::string_view::npos) return 0;
  std::uint64_t value = 0;
  std::from_chars(text.data() + at, text.data() + text.size(), value);
  return value;
}

struct cpu_times {
  std::uint64_t busy = 0;
  std::uint64_t all = 0;
};

cpu_times read_cpu() {
  std::ifstream in("/proc/stat");
  std::string label;
  in >> label;
  cpu_times out;
  std::uint64_t value = 0;
  for (int i = 0; i < 8 && in >> value; ++i) {
    out.all += value;
    if (i != 3 && i != 4) out.busy += value; // not idle, not iowait
  }
  return out;
}

std::string read_whole(const char* path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

} // namespace

task<void> metrics_get(services&, exchange& x) {
  // Use since the last call; since boot on the first.
  static cpu_times last;
  auto now = read_cpu();
  auto all = now.all - last.all;
  double used =
      all == 0 ? 0.0 : 100.0 * static_cast<double>(now.busy - last.busy) / static_cast<double>(all);
  last = now;
  auto memory = read_whole("/proc/meminfo");
  auto total = meminfo_kib(memory, "MemTotal:") << 10;
  auto available = meminfo_kib(memory, "MemAvailable:") << 10;
  auto cache = meminfo_kib(memory, "\nCached:") << 10;
  struct statvfs disk {};
  std::uint64_t disk_total = 0;
  std::uint64_t disk_used = 0;
  if (::statvfs("/", &disk) == 0) {
    disk_total = static_cast<std::uint64_t>(disk.f_blocks) * disk.f_frsize;
    disk_used = disk_total - static_cast<std::uint64_t>(disk.f_bfree) * disk.f_frsize;
  }
  json out;
  out["ts"] = std::time(nullptr);
  out["cpu_count"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  out["cpu_used_pct"] = used;
  out["mem_total_mib"] = total >> 20;
  out["mem_used_mib"] = (total - available) >> 20;
  out["mem_total"] = total;
  out["mem_used"] = total - available;
  out["mem_cache"] = cache;
  out["disk_used"] = disk_used;
  out["disk_total"] = disk_total;
  auto body = dump(out);
  co_await x.reply(200, "application/json", body, "Cache-Control: no-store\r\n");
}

task<void> envs_get(services& s, exchange& x) {
  json out = json::object();
  for (const auto& [name, value] : s.user.defaults())
    out[name] = value;
  auto body = dump(out);
  co_await x.reply(200, "application/json", body, "Cache-Control: no-store\r\n");
}

} // namespace skep::envd
